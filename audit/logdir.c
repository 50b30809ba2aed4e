/* Appends to a log, begins one, and keeps the blobs beside it. */
#include "audit/logdir.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/fsutil.h"

#define RESERVE_LEAST (128u << 10)

int logdir_make(const char *dir, struct err *e)
{
    char blobs[PATH_MAX];

    if (path_join(blobs, sizeof blobs, dir, "blobs"))
        return err_set(e, ERR_BAD_REQUEST, "the path %s is too long", dir);
    return dir_make(dir, 0750, e) || dir_make(blobs, 0750, e) ? -1 : 0;
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

    segment_name(first_seq, name);
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

int logdir_append(struct logdir *l, uint64_t first_seq, struct span lines, struct err *e)
{
    if (l->fd >= 0 && still_ours(l, e))
        return -1;
    if ((l->fd < 0 || l->size >= (off_t)SEGMENT_BYTES_MAX) && next_segment(l, first_seq, e) < 0)
        return -1;
    if (fd_write(l->fd, lines.data, lines.len)) {
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

static int none_there(const char *dir, struct err *e)
{
    struct log_segments there;
    int failed = segments_list(dir, &there, e);

    if (there.n > 0)
        failed = err_set(e, ERR_ALREADY_EXISTS, "%s holds a log already", dir);
    segments_free(&there);
    return failed;
}

int logdir_begin(const char *dir, json_t *genesis, int64_t now_us, const char *boot, struct err *e)
{
    struct logdir l = {.fd = -1, .dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    BUF_AUTO line = BUF_INIT(RECORD_LINE_MAX + 1);
    struct chain chain;
    int failed;

    if (l.dir_fd < 0)
        return err_errno(e, ERR_LOG_UNAVAILABLE, errno, "the log directory %s", dir);
    memcpy(l.dir, dir, strnlen(dir, sizeof l.dir - 1));
    chain_start(&chain);
    failed = none_there(dir, e) || record_seal(genesis, &chain, now_us, boot, &line, e) || next_segment(&l, 0, e) ||
             logdir_append(&l, 0, buf_span(&line), e);
    logdir_close(&l);
    return failed ? -1 : 0;
}
