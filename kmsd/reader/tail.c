/* Reads the segments of the log: forwards, and single lines. */
#include "kmsd/reader/tail.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "audit/logdir.h"
#include "base/enc.h"
#include "base/fsutil.h"

#define CHUNK (256u << 10)

static int segment_open(const char *dir, uint64_t segment)
{
    char path[PATH_MAX], name[SEGMENT_NAME + 1];

    segment_name(segment, name);
    return path_join(path, sizeof path, dir, name) ? -1 : open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
}

void tail_start(struct tail *t, const char *dir)
{
    *t = (struct tail){.dir = dir, .fd = -1, .in = BUF_INIT(2 * CHUNK)};
}

void tail_end(struct tail *t)
{
    if (t->fd >= 0)
        (void)close(t->fd);
    t->fd = -1;
    buf_free(&t->in);
}

int tail_resume(struct tail *t, const char *dir, const struct place *last, struct err *e)
{
    BUF_AUTO line = BUF_INIT(RECORD_LINE_MAX);
    struct segment_file f = {.dir = dir, .fd = -1};
    int result;

    tail_start(t, dir);
    result = place_read(&f, last, &line, e);
    segment_file_end(&f);
    if (result)
        return -1;
    t->segment = last->segment;
    t->offset = last->offset + last->length + 1;
    t->next = last->seq + 1;
    memcpy(t->prev, last->hash, SHA256_LEN);
    return 0;
}

static void forget(struct tail *t)
{
    t->used = 0;
    buf_clear(&t->in);
}

/* 1 = more bytes, 0 = none now. */
static int fill(struct tail *t, uint64_t head, struct err *e)
{
    uint8_t *room;
    ssize_t n;

    buf_consume(&t->in, t->used);
    t->used = 0;
    t->sure = t->in.len ? t->sure : head;
    room = buf_room(&t->in, CHUNK);
    if (!room)
        return err_set(e, ERR_LOG_UNAVAILABLE, "record %llu is longer than any line of the log", (unsigned long long)t->next);
    do
        n = pread(t->fd, room, CHUNK, (off_t)(t->offset + t->in.len));
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return err_errno(e, ERR_LOG_UNAVAILABLE, errno, "reading segment %llu", (unsigned long long)t->segment);
    t->in.len += (size_t)n;
    return n > 0;
}

/* 1 = the next line is in the buffer, 0 = not yet. */
static int line(struct tail *t, uint64_t head, struct span *out, struct err *e)
{
    for (;;) {
        const uint8_t *at = t->in.data ? t->in.data + t->used : NULL, *lf = at ? memchr(at, '\n', t->in.len - t->used) : NULL;
        int more;

        if (lf) {
            *out = span_of(at, (size_t)(lf - at));
            return 1;
        }
        if (t->in.len - t->used > RECORD_LINE_MAX)
            return err_set(e, ERR_LOG_UNAVAILABLE, "record %llu is longer than any line of the log", (unsigned long long)t->next);
        more = fill(t, head, e);
        if (more <= 0)
            return more;
    }
}

/* A segment that begins with the next record takes the place of the one before, which has no more lines. */
static bool next_segment(struct tail *t)
{
    int fd = t->fd >= 0 && t->segment == t->next ? -1 : segment_open(t->dir, t->next);

    if (fd < 0)
        return false;
    if (t->fd >= 0)
        (void)close(t->fd);
    t->fd = fd;
    t->segment = t->next;
    t->offset = 0;
    forget(t);
    return true;
}

static int accept(struct tail *t, struct span text, struct row *row, struct err *e)
{
    char prev[SHA256_HEX];

    hex_encode(t->prev, SHA256_LEN, prev);
    if (row_read(text, row, e) || row->place.seq != t->next || !span_eq_str(row->prev, prev))
        return err_set(e, ERR_LOG_UNAVAILABLE, "the line at byte %llu of segment %llu is not record %llu of this log", (unsigned long long)t->offset,
                       (unsigned long long)t->segment, (unsigned long long)t->next);
    row->place.segment = t->segment;
    row->place.offset = t->offset;
    row->place.length = (uint32_t)text.len;
    sha256(text.data, text.len, row->place.hash);
    memcpy(t->prev, row->place.hash, SHA256_LEN);
    t->used += text.len + 1;
    t->offset += text.len + 1;
    t->bytes += text.len + 1;
    t->next++;
    return 1;
}

int tail_next(struct tail *t, uint64_t head, struct row *row, struct err *e)
{
    struct span text;
    int more;

    if (t->next >= head)
        return 0;
    if (t->fd < 0)
        t->fd = segment_open(t->dir, t->segment);
    if (t->fd < 0)
        return err_errno(e, ERR_LOG_UNAVAILABLE, errno, "segment %llu of the log", (unsigned long long)t->segment);
    if (t->next >= t->sure)
        forget(t);
    more = line(t, head, &text, e);
    if (!more && next_segment(t))
        more = line(t, head, &text, e);
    return more <= 0 ? more : accept(t, text, row, e);
}

void segment_file_end(struct segment_file *f)
{
    if (f->fd >= 0)
        (void)close(f->fd);
    f->fd = -1;
}

int place_read(struct segment_file *f, const struct place *p, struct buf *out, struct err *e)
{
    uint8_t hash[SHA256_LEN];
    uint8_t *room = p->length <= RECORD_LINE_MAX ? buf_room(out, p->length) : NULL;

    if (f->fd < 0 || f->segment != p->segment) {
        segment_file_end(f);
        f->segment = p->segment;
        f->fd = segment_open(f->dir, p->segment);
    }
    if (!room || f->fd < 0 || pread(f->fd, room, p->length, (off_t)p->offset) != (ssize_t)p->length)
        return err_set(e, ERR_INTERNAL, "record %llu is not where the index says", (unsigned long long)p->seq);
    sha256(room, p->length, hash);
    if (memcmp(hash, p->hash, SHA256_LEN))
        return err_set(e, ERR_INTERNAL, "record %llu is not the one that the index knows", (unsigned long long)p->seq);
    out->len += p->length;
    return 0;
}
