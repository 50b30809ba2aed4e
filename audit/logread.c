/* Reads a log at a start, and sets aside what a crash left behind its last record. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "audit/logdir.h"
#include "base/fsutil.h"

/* One segment mapped for reading. */
struct segment {
    int fd;
    const uint8_t *data;
    size_t size;
};

static void segment_close(struct segment *s)
{
    if (s->size)
        munmap((void *)(uintptr_t)s->data, s->size);
    if (s->fd >= 0)
        close(s->fd);
    *s = (struct segment){.fd = -1};
}

static int segment_open(struct logdir *l, const char *name, struct segment *s, struct err *e)
{
    struct stat st;

    *s = (struct segment){.fd = openat(l->dir_fd, name, O_RDWR | O_APPEND | O_CLOEXEC | O_NOFOLLOW)};
    if (s->fd < 0 || fstat(s->fd, &st))
        return err_errno(e, ERR_LOG_UNAVAILABLE, errno, "%s/%s", l->dir, name);
    if (!S_ISREG(st.st_mode))
        return err_set(e, ERR_LOG_UNAVAILABLE, "%s/%s is no regular file", l->dir, name);
    s->size = (size_t)st.st_size;
    l->device = st.st_dev;
    l->inode = st.st_ino;
    if (!s->size)
        return 0;
    s->data = mmap(NULL, s->size, PROT_READ, MAP_PRIVATE, s->fd, 0);
    if (s->data == MAP_FAILED) {
        s->size = 0;
        return err_errno(e, ERR_LOG_UNAVAILABLE, errno, "%s/%s", l->dir, name);
    }
    return 0;
}

struct progress {
    const struct log_reader *reader;
    uint64_t next;
    char prev[SHA256_HEX];
    const struct log_place *from; /* the first segment read is that one, from there; NULL = all of it, or it is read */
};

/* Is the line the next record of the chain? Its meaning is the reader's affair. */
static json_t *next_record(const struct progress *p, struct span line, struct err *e)
{
    json_t *record;
    uint64_t seq;

    if (!line.len || line.len > RECORD_LINE_MAX || json_is_canonical(line.data, line.len)) {
        err_set(e, ERR_LOG_UNAVAILABLE, "the line is not canonical JSON");
        return NULL;
    }
    record = json_read_object(line.data, line.len, RECORD_LINE_MAX, e);
    if (!rec_seq(record, &seq) && seq == p->next && !strcmp(rec_str(record, "prev"), p->prev))
        return record;
    json_decref(record);
    err_set(e, ERR_LOG_UNAVAILABLE, "the line does not follow the record before it");
    return NULL;
}

/* The record just read, if the anchor names it, must be the one that it names. */
static int anchor_at(const struct progress *p, struct err *e)
{
    const struct anchor *a = p->reader->anchor;

    return !a || a->seq + 1 != p->next || !strcmp(a->hash, p->prev) ? 0 : anchor_refuse(a, ANCHOR_REPLACED, "the anchor", p->next, e);
}

/* What was synced once is no torn tail: a cut in front of the anchor's record would hide that it is damaged or gone. */
static int anchor_behind(const struct progress *p, bool torn, struct err *e)
{
    const struct anchor *a = p->reader->anchor;

    if (!a || a->seq < p->next)
        return 0;
    if (!torn)
        return anchor_refuse(a, ANCHOR_AHEAD, "the anchor", p->next, e);
    return err_set(e, ERR_LOG_UNAVAILABLE, "record %llu is damaged, but the anchor says that the log was whole up to record %llu: this is no torn tail and is not cut. " ANCHOR_CURE,
                   (unsigned long long)p->next, (unsigned long long)a->seq);
}

/* Reads whole records; *good is where the first byte stands that is no valid next record. -1 only when the reader refuses one. */
static int read_records(struct progress *p, const struct segment *s, size_t *good, struct err *why, struct err *e)
{
    size_t at = p->from ? p->from->offset : 0;

    if (at > s->size)
        return err_set(e, ERR_LOG_UNAVAILABLE, "the log is shorter than it was a moment ago");
    p->from = NULL;
    while (at < s->size) {
        const uint8_t *end = memchr(s->data + at, '\n', s->size - at);
        struct span line = span_of(s->data + at, end ? (size_t)(end - s->data) - at : 0);
        JSON_AUTO *record = end ? next_record(p, line, why) : NULL;

        if (!record)
            break;
        if (p->reader->each(p->reader->ctx, record, line, e))
            return -1;
        sha256_hex(line.data, line.len, p->prev);
        p->next++;
        if (anchor_at(p, e))
            return -1;
        at += line.len + 1;
    }
    *good = at;
    return 0;
}

/* A write that a crash cut short leaves no whole record behind the damage, unless pages in between were lost, which read as NUL. Anything else was edited. */
static bool looks_torn(struct span tail)
{
    const uint8_t *at = tail.data, *end = tail.data + tail.len, *lf;

    if (tail.len > TORN_BYTES_MAX)
        return false;
    if (memchr(tail.data, '\0', tail.len))
        return true;
    for (; at < end && (lf = memchr(at, '\n', (size_t)(end - at))); at = lf + 1)
        if (at > tail.data && !json_is_canonical(at, (size_t)(lf - at)))
            return false;
    return true;
}

static int set_aside(struct logdir *l, struct segment *s, size_t good, const struct progress *p, json_t **recovered, struct err *e)
{
    char hash[SHA256_HEX], path[PATH_MAX];
    size_t bytes = s->size - good;
    BUF_AUTO name = BUF_INIT(256);

    sha256_hex(s->data + good, bytes, hash);
    buf_printf(&name, "torn-%llu-%s", (unsigned long long)p->next, hash);
    *recovered = json_pack("{s:I, s:s, s:s}", "bytes", (json_int_t)bytes, "file", buf_str(&name), "sha256", hash);
    if (!*recovered)
        return err_set(e, ERR_INTERNAL, "out of memory");
    if (p->reader->look_only)
        return 0;
    if (path_join(path, sizeof path, l->dir, buf_str(&name)))
        return err_set(e, ERR_LOG_UNAVAILABLE, "the path %s is too long", l->dir);
    if (file_write_atomic(path, s->data + good, bytes, 0640, e))
        return -1;
    if (ftruncate(s->fd, (off_t)good) || fsync(s->fd))
        return err_errno(e, ERR_LOG_UNAVAILABLE, errno, "cutting the torn tail in %s", l->dir);
    return 0;
}

static int read_segment(struct logdir *l, const char *name, bool last, struct progress *p, json_t **recovered, struct err *e)
{
    char expected[SEGMENT_NAME + 1];
    struct segment s;
    struct err why = {0};
    size_t good = 0;
    int failed;

    segment_name(p->next, expected);
    if (strcmp(p->from ? p->from->segment : expected, name))
        return err_set(e, ERR_LOG_UNAVAILABLE, "segment %s/%s should be %s: a segment is missing or renamed", l->dir, name, expected);
    if (segment_open(l, name, &s, e)) {
        segment_close(&s);
        return -1;
    }
    failed = read_records(p, &s, &good, &why, e);
    if (!failed && good < s.size && (!last || !looks_torn(span_of(s.data + good, s.size - good))))
        failed = err_set(e, ERR_LOG_UNAVAILABLE, "%s/%s: record %llu at byte %zu is damaged (%s) and this is no torn tail; see kms-audit verify", l->dir, name,
                         (unsigned long long)p->next, good, why.detail[0] ? why.detail : "no line end");
    if (!failed && last)
        failed = anchor_behind(p, good < s.size, e);
    if (!failed && good < s.size)
        failed = set_aside(l, &s, good, p, recovered, e);
    if (!failed && last) {
        l->fd = s.fd;
        l->size = l->reserved = (off_t)good;
        memcpy(l->name, name, strnlen(name, sizeof l->name - 1));
        s.fd = -1;
    }
    segment_close(&s);
    return failed;
}

int logdir_open(struct logdir *l, const char *dir, const struct log_reader *reader, json_t **recovered, struct err *e)
{
    return logdir_open_at(l, dir, NULL, reader, recovered, e);
}

int logdir_open_at(struct logdir *l, const char *dir, const struct log_place *from, const struct log_reader *reader, json_t **recovered, struct err *e)
{
    struct progress p = {.reader = reader, .from = from, .next = from ? from->next : 0};
    struct log_segments all;
    int failed;

    *l = (struct logdir){.fd = -1, .dir_fd = -1};
    *recovered = NULL;
    memset(p.prev, '0', SHA256_HEX - 1);
    if (from)
        memcpy(p.prev, from->prev, SHA256_HEX);
    if (strlen(dir) >= sizeof l->dir)
        return err_set(e, ERR_LOG_UNAVAILABLE, "the path of the log is too long");
    memcpy(l->dir, dir, strlen(dir) + 1);
    l->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (l->dir_fd < 0)
        return err_errno(e, ERR_LOG_UNAVAILABLE, errno, "the log directory %s", dir);
    failed = segments_list(dir, &all, e);
    if (!failed && !all.n)
        failed = err_set(e, ERR_LOG_UNAVAILABLE, "%s holds no log; create the instance with kmsd init or kmsd dev", dir);
    for (int i = 0; i < all.n && !failed; i++)
        if (!from || strcmp(all.entry[i]->d_name, from->segment) >= 0)
            failed = read_segment(l, all.entry[i]->d_name, i == all.n - 1, &p, recovered, e);
    segments_free(&all);
    if (!failed)
        return 0;
    json_decref(*recovered);
    *recovered = NULL;
    logdir_close(l);
    return -1;
}
