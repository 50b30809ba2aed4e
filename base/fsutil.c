/* Files, locks, clock and random bytes: the small impure tools. */
#include "base/fsutil.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int file_read(const char *path, struct buf *out, struct err *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    int failed = 0;

    if (fd < 0 || fstat(fd, &st)) {
        err_errno(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_INTERNAL, errno, "%s", path);
        if (fd >= 0)
            close(fd);
        return -1;
    }
    if (!S_ISREG(st.st_mode))
        failed = err_set(e, ERR_BAD_REQUEST, "%s is no regular file", path);
    while (!failed) {
        uint8_t part[16384];
        ssize_t n = read(fd, part, sizeof part);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            failed = err_errno(e, ERR_INTERNAL, errno, "%s", path);
        if (n <= 0)
            break;
        buf_put(out, part, (size_t)n);
        if (buf_ok(out))
            failed = err_set(e, ERR_TOO_LARGE, "%s is longer than %zu bytes", path, out->max);
    }
    close(fd);
    return failed;
}

int fd_write(int fd, const void *data, size_t len)
{
    const uint8_t *at = data;

    while (len) {
        ssize_t n = write(fd, at, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return -1;
        at += n;
        len -= (size_t)n;
    }
    return 0;
}

static int sync_parent(const char *path, struct err *e)
{
    char dir[4096];
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) : 0;

    if (n >= sizeof dir)
        return err_set(e, ERR_INTERNAL, "the path %s is too long", path);
    memcpy(dir, path, n);
    dir[n] = '\0';
    return dir_sync(slash ? (n ? dir : "/") : ".", e);
}

/* like: whose owner the file gets, NULL = ours. It has owner and mode before it has its name: a name may lead elsewhere by then. */
static int write_fresh(const char *path, const void *data, size_t len, mode_t mode, const struct stat *like, struct err *e)
{
    BUF_AUTO fresh = BUF_INIT(4096);
    struct stat there;
    int fd, saved;

    buf_printf(&fresh, "%s.new-%d", path, (int)getpid());
    if (buf_ok(&fresh))
        return err_set(e, ERR_INTERNAL, "the path %s is too long", path);
    /* A device, a pipe or a link to one (/dev/stdout) would be gone for everybody. */
    if (stat(path, &there) == 0 && !S_ISREG(there.st_mode) && !S_ISDIR(there.st_mode))
        return err_set(e, ERR_BAD_REQUEST, "%s is no regular file: a file in its place would be the end of it; name another", path);
    (void)unlink(buf_str(&fresh));
    fd = open(buf_str(&fresh), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0)
        return err_errno(e, ERR_INTERNAL, errno, "writing %s", path);
    if ((like && like->st_uid != geteuid() && fchown(fd, like->st_uid, like->st_gid)) || fchmod(fd, mode) || fd_write(fd, data, len) || fsync(fd)) {
        saved = errno;
        close(fd);
        (void)unlink(buf_str(&fresh));
        return err_errno(e, ERR_INTERNAL, saved, "writing %s", path);
    }
    if (close(fd) || rename(buf_str(&fresh), path)) {
        saved = errno;
        (void)unlink(buf_str(&fresh));
        return err_errno(e, ERR_INTERNAL, saved, "%s", path);
    }
    return sync_parent(path, e);
}

int file_write_atomic(const char *path, const void *data, size_t len, mode_t mode, struct err *e)
{
    return write_fresh(path, data, len, mode, NULL, e);
}

int file_replace(const char *path, const void *data, size_t len, struct err *e)
{
    struct stat st;

    if (stat(path, &st))
        return err_errno(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_INTERNAL, errno, "%s", path);
    return write_fresh(path, data, len, st.st_mode & 0777, &st, e);
}

int file_exists(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0;
}

int file_holds_key(const char *path)
{
    static const char mark[] = "PRIVATE KEY-----";
    BUF_AUTO text = BUF_INIT(64u << 10);
    struct err e = {0};
    int found;

    (void)!file_read(path, &text, &e);
    found = text.len && memmem(text.data, text.len, mark, sizeof mark - 1);
    buf_wipe(&text);
    return found;
}

int file_yields(const char *path, const char *instead, struct err *e)
{
    struct stat st;

    if (!stat(path, &st) && !S_ISREG(st.st_mode))
        return err_set(e, ERR_BAD_REQUEST, "%s is no regular file, and the certificate would take its place: %s", path, instead);
    if (file_holds_key(path))
        return err_set(e, ERR_BAD_REQUEST, "%s holds a private key, and the certificate would take its place: %s", path, instead);
    return 0;
}

int dir_make(const char *path, mode_t mode, struct err *e)
{
    struct stat st;

    if (!mkdir(path, mode))
        return sync_parent(path, e);
    if (errno != EEXIST)
        return err_errno(e, ERR_INTERNAL, errno, "%s", path);
    if (stat(path, &st) || !S_ISDIR(st.st_mode))
        return err_set(e, ERR_BAD_REQUEST, "%s exists and is no directory", path);
    return 0;
}

int dir_sync(const char *path, struct err *e)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), failed;

    if (fd < 0)
        return err_errno(e, ERR_INTERNAL, errno, "%s", path);
    failed = fsync(fd) ? err_errno(e, ERR_INTERNAL, errno, "%s", path) : 0;
    close(fd);
    return failed;
}

int path_join(char *out, size_t size, const char *dir, const char *name)
{
    size_t d = strlen(dir), n = strlen(name);
    bool whole = name[0] == '/' || !d;

    if ((whole ? n : d + 1 + n) >= size)
        return -1;
    if (whole) {
        memcpy(out, name, n + 1);
        return 0;
    }
    memcpy(out, dir, d);
    out[d] = '/';
    memcpy(out + d + 1, name, n + 1);
    return 0;
}

/* Who holds the lock, as far as the file says. */
static long holder(int fd)
{
    char text[24] = "";
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    long pid = 0;

    for (ssize_t i = 0; i < n && text[i] >= '0' && text[i] <= '9' && pid < 100000000; i++)
        pid = pid * 10 + (text[i] - '0');
    return pid;
}

int lock_file(const char *path, int wait_ms, struct err *e)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0)
        return err_errno(e, ERR_INTERNAL, errno, "%s", path);
    while (flock(fd, LOCK_EX | LOCK_NB)) {
        if (errno != EINTR && (errno != EWOULDBLOCK || wait_ms <= 0)) {
            err_set(e, ERR_BUSY, "%s is held by process %ld: another kmsd runs here", path, holder(fd));
            close(fd);
            return -1;
        }
        poll(NULL, 0, 20);
        wait_ms -= 20;
    }
    if (ftruncate(fd, 0) || dprintf(fd, "%d\n", (int)getpid()) < 0) {
        err_errno(e, ERR_INTERNAL, errno, "%s", path);
        close(fd);
        return -1;
    }
    return fd;
}

int random_bytes(void *out, size_t len)
{
    uint8_t *at = out;

    while (len) {
        ssize_t n = getrandom(at, len, 0);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return -1;
        at += n;
        len -= (size_t)n;
    }
    return 0;
}

static int64_t clock_us(clockid_t which)
{
    struct timespec t;

    if (clock_gettime(which, &t))
        return 0;
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t clock_wall_us(void)
{
    return clock_us(CLOCK_REALTIME);
}

int64_t clock_boot_us(void)
{
    return clock_us(CLOCK_BOOTTIME);
}

/* A machine that sleeps between the two readings must not make the wall clock look as if it was set. */
void clock_both_us(int64_t *wall, int64_t *boot)
{
    int64_t before;

    do {
        before = clock_boot_us();
        *wall = clock_wall_us();
        *boot = clock_boot_us();
    } while (*boot - before > 1000000);
}
