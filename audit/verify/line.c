/* Reads the lines of one file with a fixed buffer, whatever the file holds. */
#include "audit/verify/line.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int line_open(struct line_reader *r, const char *path, uint64_t offset, struct err *e)
{
    struct stat st;

    *r = (struct line_reader){.fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), .offset = offset};
    if (r->fd < 0)
        return err_errno(e, ERR_NOT_FOUND, errno, "%s", path);
    if (fstat(r->fd, &st) || !S_ISREG(st.st_mode) || lseek(r->fd, (off_t)offset, SEEK_SET) < 0) {
        line_close(r);
        return err_set(e, ERR_NOT_FOUND, "%s: not a regular file", path);
    }
    r->data = malloc(LINE_BUFFER);
    if (r->data)
        return 0;
    line_close(r);
    return err_set(e, ERR_INTERNAL, "out of memory");
}

void line_close(struct line_reader *r)
{
    if (r->fd >= 0)
        close(r->fd);
    free(r->data);
    *r = (struct line_reader){.fd = -1};
}

static int fill(struct line_reader *r, struct err *e)
{
    ssize_t n;

    if (r->start) {
        memmove(r->data, r->data + r->start, r->end - r->start);
        r->end -= r->start;
        r->start = 0;
    }
    do
        n = read(r->fd, r->data + r->end, LINE_BUFFER - r->end);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return err_errno(e, ERR_INTERNAL, errno, "reading");
    r->eof = n == 0;
    r->end += (size_t)n;
    return 0;
}

static void take(struct line_reader *r, size_t n)
{
    r->start += n;
    r->offset += n;
}

/* The rest of a line that is too long: counted, not kept. The bytes at its front stay where they are until the next fill. */
static int skip_rest(struct line_reader *r, struct line *out, struct err *e)
{
    static uint8_t kept[LINE_MAX_BYTES + 1];

    memcpy(kept, out->data, sizeof kept);
    out->data = kept;
    for (;;) {
        const uint8_t *lf = memchr(r->data + r->start, '\n', r->end - r->start);
        size_t n = lf ? (size_t)(lf - (r->data + r->start)) + 1 : r->end - r->start;

        out->size += n;
        take(r, n);
        out->ended = lf != NULL;
        if (lf)
            return 1;
        if (fill(r, e))
            return -1;
        if (r->eof)
            return 1;
    }
}

int line_next(struct line_reader *r, struct line *out, struct err *e)
{
    const uint8_t *lf;
    size_t n;

    while (!(lf = r->end > r->start ? memchr(r->data + r->start, '\n', r->end - r->start) : NULL) && !r->eof && r->end - r->start <= LINE_MAX_BYTES)
        if (fill(r, e))
            return -1;
    if (r->start == r->end)
        return 0;
    n = lf ? (size_t)(lf - (r->data + r->start)) : r->end - r->start;
    *out = (struct line){.data = r->data + r->start, .len = n, .offset = r->offset, .size = n + (lf != NULL), .ended = lf != NULL};
    if (n > LINE_MAX_BYTES)
        out->len = LINE_MAX_BYTES + 1;
    out->has_nul = memchr(out->data, 0, out->len) != NULL;
    take(r, (size_t)out->size);
    return lf || n <= LINE_MAX_BYTES ? 1 : skip_rest(r, out, e);
}
