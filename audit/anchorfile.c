/* Reads and writes the anchor's file. */
#include "audit/anchorfile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fsutil.h"

#define FILE_MODE 0640
#define DIR_MODE 0750

struct slots {
    struct anchor slot[ANCHOR_SLOTS];
    bool valid[ANCHOR_SLOTS];
    unsigned newest;                 /* of the valid ones */
};

/* A file that ends early has no slot there, which is one that is not valid. */
static int read_slots(int fd, struct slots *s)
{
    *s = (struct slots){0};
    for (unsigned n = 0; n < ANCHOR_SLOTS; n++) {
        uint8_t bytes[ANCHOR_LEN];
        ssize_t got = pread(fd, bytes, sizeof bytes, (off_t)n * ANCHOR_SLOT_DISTANCE);

        if (got < 0)
            return -1;
        s->valid[n] = !anchor_decode(span_of(bytes, (size_t)got), &s->slot[n]);
        if (s->valid[n] && (!s->valid[s->newest] || s->slot[n].counter > s->slot[s->newest].counter))
            s->newest = n;
    }
    return 0;
}

static int open_file(const char *path, int flags, struct slots *s)
{
    int fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK), saved;
    struct stat st = {0};

    if (fd < 0)
        return -1;
    if (!fstat(fd, &st) && S_ISREG(st.st_mode) && !read_slots(fd, s))
        return fd;
    saved = S_ISREG(st.st_mode) ? errno : EINVAL;
    close(fd);
    errno = saved;
    return -1;
}

int anchor_file_read(const char *path, struct anchor *out, enum anchor_file_state *state, struct err *e)
{
    struct slots s;
    int fd = open_file(path, O_RDONLY, &s);

    if (fd < 0 && errno == ENOENT) {
        *state = ANCHOR_FILE_MISSING;
        return 0;
    }
    if (fd < 0)
        return err_errno(e, ERR_LOG_UNAVAILABLE, errno, "the anchor %s", path);
    close(fd);
    *state = s.valid[0] && s.valid[1] ? ANCHOR_FILE_WHOLE : s.valid[s.newest] ? ANCHOR_FILE_HALF : ANCHOR_FILE_UNUSABLE;
    if (*state != ANCHOR_FILE_UNUSABLE)
        *out = s.slot[s.newest];
    return 0;
}

int anchor_file_need(const char *path, struct anchor *out, enum anchor_file_state *state, struct err *e)
{
    if (anchor_file_read(path, out, state, e))
        return -1;
    if (*state == ANCHOR_FILE_MISSING)
        return err_set(e, ERR_LOG_UNAVAILABLE, "the anchor %s is missing; it is made together with the log, so this is no first start. Put it back (is its "
                       "file system mounted?); if it is lost, `kmsd anchor --accept` makes a new one and records it", path);
    if (*state == ANCHOR_FILE_UNUSABLE)
        return err_set(e, ERR_LOG_UNAVAILABLE, "the anchor %s is damaged in both slots. Put it back; if it is lost, `kmsd anchor --accept` makes a new one and "
                       "records it", path);
    return 0;
}

int anchor_file_create(const char *path, const struct anchor *a, struct err *e)
{
    static const uint8_t zeros[ANCHOR_SLOT_DISTANCE];
    BUF_AUTO image = BUF_INIT(ANCHOR_SLOTS * ANCHOR_SLOT_DISTANCE);
    const char *slash = strrchr(path, '/');
    char dir[PATH_MAX] = "";

    if (!slash || (size_t)(slash - path) >= sizeof dir)
        return err_set(e, ERR_BAD_REQUEST, "the anchor %s has no usable directory", path);
    memcpy(dir, path, (size_t)(slash - path));
    for (unsigned n = 0; n < ANCHOR_SLOTS; n++) {
        anchor_encode(&image, a);
        buf_put(&image, zeros, ANCHOR_SLOT_DISTANCE - ANCHOR_LEN);
    }
    if (buf_ok(&image))
        return err_set(e, ERR_INTERNAL, "the anchor could not be built");
    if ((dir[0] && dir_make(dir, DIR_MODE, e)) || file_write_atomic(path, image.data, image.len, FILE_MODE, e))
        return err_context(e, "the anchor");
    return 0;
}

static int write_slot(int fd, unsigned n, const struct buf *bytes)
{
    ssize_t put = pwrite(fd, bytes->data, bytes->len, (off_t)n * ANCHOR_SLOT_DISTANCE);

    if (put >= 0 && (size_t)put != bytes->len)
        errno = ENOSPC;
    return put == (ssize_t)bytes->len ? fdatasync(fd) : -1;
}

int anchor_file_update(const char *path, struct anchor *a, int64_t now_us, struct err *e)
{
    BUF_AUTO bytes = BUF_INIT(ANCHOR_LEN);
    struct slots s;
    int fd = open_file(path, O_RDWR, &s), failed;

    if (fd < 0)
        return err_errno(e, ERR_LOG_UNAVAILABLE, errno, "the anchor");
    a->counter = anchor_next_counter(s.valid[s.newest] ? s.slot[s.newest].counter : a->counter, now_us);
    anchor_encode(&bytes, a);
    if (buf_ok(&bytes)) {
        close(fd);
        return err_set(e, ERR_INTERNAL, "the anchor could not be built");
    }
    failed = write_slot(fd, s.valid[s.newest] ? 1 - s.newest : 0, &bytes);
    if (failed)
        err_errno(e, ERR_LOG_UNAVAILABLE, errno, "the anchor");
    close(fd);
    return failed ? -1 : 0;
}
