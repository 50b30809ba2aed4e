/* A non-blocking stream socket that carries frames. */
#include "base/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_SIZE (64u << 10)
#define IN_MAX (2 * (size_t)FRAME_MAX + READ_SIZE)
#define SEND_WAIT_MS 10000 /* stream_send_fd gives a peer that does not read this long */

/* Room for one descriptor: more than one in a message makes the kernel set MSG_CTRUNC and close the rest. */
union control {
    char bytes[CMSG_SPACE(sizeof(int))];
    struct cmsghdr align;
};

void stream_init(struct stream *s, int fd)
{
    *s = (struct stream){.fd = fd, .in = BUF_INIT(IN_MAX), .out = BUF_INIT(STREAM_OUT_MAX), .passed_fd = -1};

    int flags = fcntl(fd, F_GETFL);
    if (flags >= 0)
        (void)fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

void stream_close(struct stream *s)
{
    if (s->fd >= 0)
        close(s->fd);
    if (s->passed_fd >= 0)
        close(s->passed_fd);
    buf_free(&s->in);
    buf_free(&s->out);
    *s = (struct stream){.fd = -1, .passed_fd = -1};
}

/* Keeps the descriptor that came along. A second one before the first was taken would be attached to the wrong frame: that ends the stream. */
static int keep_descriptor(struct stream *s, struct msghdr *m)
{
    int fd = -1;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof fd))
            memcpy(&fd, CMSG_DATA(c), sizeof fd);
    if (fd >= 0 && (s->passed_fd >= 0 || (m->msg_flags & MSG_CTRUNC))) {
        close(fd);
        return -1;
    }
    if (fd >= 0)
        s->passed_fd = fd;
    return m->msg_flags & MSG_CTRUNC ? -1 : 0;
}

/* One recvmsg: bytes received, 0 = nothing now, -1 = end or error. */
static ssize_t receive(struct stream *s)
{
    union control control = {0};
    struct iovec iov = {.iov_base = buf_room(&s->in, READ_SIZE), .iov_len = READ_SIZE};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    ssize_t n;

    if (!iov.iov_base)
        return -1;
    do
        n = recvmsg(s->fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN ? 0 : -1;
    if (keep_descriptor(s, &m) || n == 0)
        return -1;
    s->in.len += (size_t)n;
    return n;
}

int stream_fill(struct stream *s)
{
    int got = 0;

    buf_consume(&s->in, s->in_off);
    s->in_off = 0;
    while (s->in.len + READ_SIZE <= IN_MAX) {
        ssize_t n = receive(s);
        if (n <= 0)
            return got ? got : (int)n;
        got = 1;
        /* A short read emptied the socket, or ends where a descriptor came along. */
        if ((size_t)n < READ_SIZE)
            break;
    }
    return got;
}

int stream_next(struct stream *s, struct frame *f, struct err *e)
{
    struct span left = {s->in.data, s->in.len};
    size_t len = 0;

    if (s->in_off == s->in.len)
        return 0;
    left = span_of(left.data + s->in_off, left.len - s->in_off);
    int n = frame_next(left, &len);
    if (n < 0)
        return err_set(e, ERR_INTERNAL, "frame: its length is out of range");
    if (n == 0)
        return 0;
    if (frame_parse(span_of(left.data, len), f, e))
        return -1;
    s->in_off += len;
    return 1;
}

size_t stream_waiting(const struct stream *s)
{
    int unread = 0;

    if (ioctl(s->fd, FIONREAD, &unread) || unread < 0)
        unread = 0;
    return s->in.len - s->in_off + (size_t)unread;
}

int stream_flush(struct stream *s)
{
    if (s->out.failed)
        return -1;
    while (s->out_off < s->out.len) {
        ssize_t n = send(s->fd, s->out.data + s->out_off, s->out.len - s->out_off, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN)
            return -1;
        if (n < 0)
            break;
        s->out_off += (size_t)n;
    }
    /* What is written goes when it is at least half, so that a slow peer does not make every write move all the rest. */
    if (s->out_off >= s->out.len - s->out_off) {
        buf_consume(&s->out, s->out_off);
        s->out_off = 0;
    }
    return s->out.len ? 1 : 0;
}

static int wait_writable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    int n;

    do
        n = poll(&p, 1, SEND_WAIT_MS);
    while (n < 0 && errno == EINTR);
    return n == 1 && !(p.revents & (POLLERR | POLLNVAL)) ? 0 : -1;
}

/* The descriptor travels with the first byte of the frame. */
static ssize_t send_with(int sock, struct span data, int fd)
{
    union control control = {0};
    struct iovec iov = {.iov_base = (void *)(uintptr_t)data.data, .iov_len = data.len};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

    if (fd >= 0) {
        m.msg_control = control.bytes;
        m.msg_controllen = sizeof control.bytes;
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        *c = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof fd)};
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
    }
    return sendmsg(sock, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
}

int stream_send_fd(struct stream *s, const struct buf *frame, int fd)
{
    struct span left = buf_span(frame);

    if (frame->failed || left.len == 0)
        return -1;
    /* What was queued before goes first. */
    for (int more = stream_flush(s); more; more = stream_flush(s))
        if (more < 0 || wait_writable(s->fd))
            return -1;
    while (left.len) {
        ssize_t n = send_with(s->fd, left, fd);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return -1;
        if (n < 0 && wait_writable(s->fd))
            return -1;
        if (n <= 0)
            continue;
        fd = -1;
        left = span_of(left.data + n, left.len - (size_t)n);
    }
    return 0;
}
