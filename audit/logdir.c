/* Reads, repairs and appends to the segments of a log. */
#include "audit/logdir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/fsutil.h"

#define RESERVE_LEAST (128u << 10)

bool logdir_is_segment(const char *name)
{
    return strlen(name) == SEGMENT_NAME && strspn(name, "0123456789") == 20 && !strcmp(name + 20, ".jsonl");
}

static int only_segments(const struct dirent *d)
{
    return logdir_is_segment(d->d_name);
}

static void segment_path(const struct logdir *l, uint64_t first_seq, char name[static SEGMENT_NAME + 1])
{
    BUF_AUTO b = BUF_INIT(SEGMENT_NAME);

    (void)l;
    buf_printf(&b, "%020llu.jsonl", (unsigned long long)first_seq);
    memcpy(name, buf_str(&b), SEGMENT_NAME + 1);
}

int logdir_make(const char *dir, struct err *e)
{
    char blobs[PATH_MAX];

    if (path_join(blobs, sizeof blobs, dir, "blobs"))
        return err_set(e, ERR_BAD_REQUEST, "the path %s is too long", dir);
    return dir_make(dir, 0750, e) || dir_make(blobs, 0750, e) ? -1 : 0;
}

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

    if (!line.len || line.len > RECORD_LINE_MAX || json_is_canonical(line.data, line.len)) {
        err_set(e, ERR_LOG_UNAVAILABLE, "the line is not canonical JSON");
        return NULL;
    }
    record = json_read_object(line.data, line.len, RECORD_LINE_MAX, e);
    if (record && json_is_integer(json_object_get(record, "seq")) && rec_int(record, "seq") == p->next && !strcmp(rec_str(record, "prev"), p->prev))
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

    segment_path(l, p->next, expected);
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

static void free_names(struct dirent **names, int n)
{
    for (int i = 0; i < n; i++)
        free(names[i]);
    free(names);
}

int logdir_open(struct logdir *l, const char *dir, const struct log_reader *reader, json_t **recovered, struct err *e)
{
    return logdir_open_at(l, dir, NULL, reader, recovered, e);
}

int logdir_open_at(struct logdir *l, const char *dir, const struct log_place *from, const struct log_reader *reader, json_t **recovered, struct err *e)
{
    struct progress p = {.reader = reader, .from = from, .next = from ? from->next : 0};
    struct dirent **names = NULL;
    int n, failed = 0;

    *l = (struct logdir){.fd = -1, .dir_fd = -1};
    *recovered = NULL;
    memset(p.prev, '0', SHA256_HEX - 1);
    if (from)
        memcpy(p.prev, from->prev, SHA256_HEX);
    if (strlen(dir) >= sizeof l->dir)
        return err_set(e, ERR_LOG_UNAVAILABLE, "the path of the log is too long");
    memcpy(l->dir, dir, strlen(dir) + 1);
    l->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    n = l->dir_fd < 0 ? -1 : scandir(dir, &names, only_segments, alphasort);
    if (n < 0)
        return err_errno(e, ERR_LOG_UNAVAILABLE, errno, "the log directory %s", dir);
    if (!n)
        failed = err_set(e, ERR_LOG_UNAVAILABLE, "%s holds no log; create the instance with kmsd init or kmsd dev", dir);
    for (int i = 0; i < n && !failed; i++)
        if (!from || strcmp(names[i]->d_name, from->segment) >= 0)
            failed = read_segment(l, names[i]->d_name, i == n - 1, &p, recovered, e);
    free_names(names, n);
    if (!failed)
        return 0;
    json_decref(*recovered);
    *recovered = NULL;
    logdir_close(l);
    return -1;
}

void logdir_close(struct logdir *l)
{
    if (l->fd >= 0)
        close(l->fd);
    if (l->dir_fd >= 0)
        close(l->dir_fd);
    l->fd = l->dir_fd = -1;
}

static int blob_path(const char *dir, const char *sha256, char *out, size_t size, struct err *e)
{
    char blobs[PATH_MAX];

    if (strlen(sha256) != SHA256_HEX - 1 || strspn(sha256, "0123456789abcdef") != SHA256_HEX - 1 || path_join(blobs, sizeof blobs, dir, "blobs") ||
        path_join(out, size, blobs, sha256))
        return err_set(e, ERR_LOG_UNAVAILABLE, "a blob has no usable name");
    return 0;
}

int logdir_blob_read(const char *dir, const char *sha256, struct buf *out, struct err *e)
{
    char path[PATH_MAX];

    return blob_path(dir, sha256, path, sizeof path, e) || file_read(path, out, e) ? -1 : 0;
}

int logdir_blob_write(const struct logdir *l, const char *sha256, struct span data, struct err *e)
{
    char path[PATH_MAX];

    if (blob_path(l->dir, sha256, path, sizeof path, e))
        return -1;
    return file_exists(path) ? 0 : file_write_atomic(path, data.data, data.len, 0640, e);
}

static bool no_space(int errnum)
{
    return errnum == ENOSPC || errnum == EDQUOT || errnum == EFBIG;
}

/* 1 = the file system does not reserve. */
static int allocate(int fd, off_t from, off_t bytes)
{
    int failed;

    do
        failed = fallocate(fd, FALLOC_FL_KEEP_SIZE, from, bytes);
    while (failed && errno == EINTR);
    return failed && (errno == EOPNOTSUPP || errno == ENOSYS) ? 1 : failed;
}

static int make_segment(struct logdir *l, const char *name, bool reserve, struct stat *st, off_t *reserved)
{
    int fd = openat(l->dir_fd, name, O_RDWR | O_APPEND | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0640), got, saved;

    if (fd < 0)
        return -1;
    got = reserve ? allocate(fd, 0, LOG_RESERVE) : 1;
    *reserved = got ? 0 : LOG_RESERVE;
    if (got >= 0 && !fstat(fd, st) && !fsync(l->dir_fd))
        return fd;
    saved = errno;
    close(fd);
    /* An empty segment that a crash brings back would stand where the old one goes on. */
    errno = unlinkat(l->dir_fd, name, 0) || fsync(l->dir_fd) ? EIO : saved;
    return -1;
}

/* 1 = there is no space for one. */
static int next_segment(struct logdir *l, uint64_t first_seq, struct err *e)
{
    char name[SEGMENT_NAME + 1];
    struct stat st;
    off_t reserved;
    int fd;

    segment_path(l, first_seq, name);
    fd = make_segment(l, name, l->fd >= 0, &st, &reserved);
    if (fd < 0 && l->fd >= 0 && no_space(errno))
        return 1;
    if (fd < 0)
        return err_errno(e, ERR_LOG_UNAVAILABLE, errno, "a new segment in %s", l->dir);
    if (l->fd >= 0) {
        if (ftruncate(l->fd, l->size)) { /* gives back what was reserved */
            close(fd);
            return err_errno(e, ERR_LOG_UNAVAILABLE, errno, "the log in %s", l->dir);
        }
        close(l->fd);
    }
    l->fd = fd;
    l->size = 0;
    l->reserved = reserved;
    l->device = st.st_dev;
    l->inode = st.st_ino;
    memcpy(l->name, name, sizeof name);
    return 0;
}

int logdir_reserve(struct logdir *l, struct log_room *room, struct err *e)
{
    off_t have = l->reserved > l->size ? l->reserved - l->size : 0;
    bool promised = true;
    struct statvfs fs;

    for (off_t want = LOG_RESERVE; have < (off_t)LOG_RESERVE / 2 && promised && want > have && want >= (off_t)RESERVE_LEAST; want /= 2) {
        int got = allocate(l->fd, l->size, want);

        if (got < 0 && !no_space(errno))
            return err_errno(e, ERR_LOG_UNAVAILABLE, errno, "reserving space for the log in %s", l->dir);
        promised = got <= 0;
        if (!got) {
            l->reserved = l->size + want;
            have = want;
        }
    }
    if (fstatvfs(l->dir_fd, &fs))
        return err_errno(e, ERR_LOG_UNAVAILABLE, errno, "the file system of %s", l->dir);
    room->blobs = (uint64_t)fs.f_bavail * fs.f_frsize;
    room->lines = promised ? (uint64_t)have : room->blobs / 2 < LOG_RESERVE ? room->blobs / 2 : LOG_RESERVE;
    return 0;
}

/* A file removed, replaced or changed under us is not noticed by write: compare it with what we left. */
static int still_ours(const struct logdir *l, struct err *e)
{
    struct stat st, named;

    if (fstat(l->fd, &st))
        return err_errno(e, ERR_LOG_UNAVAILABLE, errno, "the log in %s", l->dir);
    if (st.st_dev != l->device || st.st_ino != l->inode || st.st_nlink != 1 || st.st_size != l->size ||
        fstatat(l->dir_fd, l->name, &named, AT_SYMLINK_NOFOLLOW) || named.st_dev != l->device || named.st_ino != l->inode)
        return err_set(e, ERR_LOG_UNAVAILABLE, "the log in %s was removed, replaced or changed while running", l->dir);
    return 0;
}

static int write_all(int fd, struct span data)
{
    size_t at = 0;

    while (at < data.len) {
        ssize_t n = write(fd, data.data + at, data.len - at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return -1;
        at += (size_t)n;
    }
    return 0;
}

int logdir_append(struct logdir *l, uint64_t first_seq, struct span lines, struct err *e)
{
    if (l->fd >= 0 && still_ours(l, e))
        return -1;
    if ((l->fd < 0 || l->size >= (off_t)SEGMENT_BYTES_MAX) && next_segment(l, first_seq, e) < 0)
        return -1;
    if (write_all(l->fd, lines)) {
        int saved = errno;

        err_errno(e, ERR_LOG_UNAVAILABLE, saved, "writing the log in %s", l->dir);
        /* Nothing of a group that did not fit is left behind: the next start finds whole records and nothing to set aside. */
        return no_space(saved) && (ftruncate(l->fd, l->size) || fsync(l->fd)) ? err_context(e, "and it cannot be cut back") : -1;
    }
    if (fdatasync(l->fd))
        return err_errno(e, ERR_LOG_UNAVAILABLE, errno, "syncing the log in %s", l->dir);
    l->size += (off_t)lines.len;
    return 0;
}

int logdir_begin(const char *dir, json_t *genesis, int64_t now_us, const char *boot, struct err *e)
{
    struct logdir l = {.fd = -1, .dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    struct dirent **names = NULL;
    BUF_AUTO line = BUF_INIT(RECORD_LINE_MAX + 1);
    struct chain chain;
    int n = scandir(dir, &names, only_segments, alphasort), failed;

    free_names(names, n);
    if (l.dir_fd < 0 || n < 0)
        return err_errno(e, ERR_LOG_UNAVAILABLE, errno, "the log directory %s", dir);
    memcpy(l.dir, dir, strnlen(dir, sizeof l.dir - 1));
    chain_start(&chain);
    failed = n ? err_set(e, ERR_ALREADY_EXISTS, "%s holds a log already", dir)
               : record_seal(genesis, &chain, now_us, boot, &line, e) || next_segment(&l, 0, e) || logdir_append(&l, 0, buf_span(&line), e);
    logdir_close(&l);
    return failed ? -1 : 0;
}
