/* One connection of the load generator: non-blocking TCP and TLS, one request after the other. */
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bench/load/load.h"

static int connect_to(const struct options *o, struct err *e)
{
    const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int fd = -1, one = 1;

    if (getaddrinfo(o->host, o->port, &hints, &found) || !found)
        return err_set(e, ERR_BAD_REQUEST, "%s:%s is no numeric address", o->host, o->port);
    fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) || (connect(fd, found->ai_addr, found->ai_addrlen) && errno != EINPROGRESS)) {
        err_errno(e, ERR_INTERNAL, errno, "connecting to %s:%s", o->host, o->port);
        if (fd >= 0)
            close(fd);
        fd = -1;
    }
    freeaddrinfo(found);
    return fd;
}

void peer_close(struct peer *p)
{
    if (p->ssl) {
        (void)SSL_shutdown(p->ssl);
        SSL_free(p->ssl);
    }
    if (p->fd >= 0)
        close(p->fd);
    p->ssl = NULL;
    p->fd = -1;
}

int peer_start(struct load *l, struct peer *p, struct err *e)
{
    struct epoll_event ev = {.events = EPOLLOUT, .data.ptr = p};

    p->began = now_us();
    p->fd = connect_to(l->options, e);
    if (p->fd < 0)
        return -1;
    p->ssl = SSL_new(l->tls);
    if (!p->ssl || SSL_set_fd(p->ssl, p->fd) != 1 || epoll_ctl(l->epoll, EPOLL_CTL_ADD, p->fd, &ev))
        return err_set(e, ERR_INTERNAL, "no memory for a connection");
    SSL_set_connect_state(p->ssl);
    p->interest = EPOLLOUT;
    p->step = PEER_CONNECTING;
    return 0;
}

static int want(struct load *l, struct peer *p, uint32_t events, struct err *e)
{
    struct epoll_event ev = {.events = events, .data.ptr = p};

    if (p->interest == events)
        return 0;
    p->interest = events;
    return epoll_ctl(l->epoll, EPOLL_CTL_MOD, p->fd, &ev) ? err_errno(e, ERR_INTERNAL, errno, "epoll") : 0;
}

/* After a call of the TLS library that did not come to its end: 0 = what it waits for is watched. */
static int stopped(struct load *l, struct peer *p, int result, const char *what, struct err *e)
{
    int code = SSL_get_error(p->ssl, result);

    if (code == SSL_ERROR_WANT_READ)
        return want(l, p, EPOLLIN, e);
    if (code == SSL_ERROR_WANT_WRITE)
        return want(l, p, EPOLLOUT, e);
    return err_set(e, ERR_INTERNAL, "connection %u, %s: the service closed it (TLS error %d, %s)", p->number, what, code, strerror(errno));
}

static void ask(struct load *l, struct peer *p)
{
    if (!l->options->fresh)
        p->began = now_us();
    request_build(l, p);
    p->step = PEER_WRITING;
}

static int write_on(struct load *l, struct peer *p, struct err *e)
{
    while (p->written < p->out.len) {
        int n = SSL_write(p->ssl, p->out.data + p->written, (int)(p->out.len - p->written));

        if (n <= 0)
            return stopped(l, p, n, "sending", e);
        p->written += (size_t)n;
    }
    p->step = PEER_READING;
    return want(l, p, EPOLLIN, e);
}

static int answered(struct load *l, struct peer *p, unsigned status, struct err *e)
{
    answer_count(l, p, status);
    if (l->options->fresh) {
        peer_close(p);
        return peer_start(l, p, e);
    }
    ask(l, p);
    return write_on(l, p, e);
}

static int read_on(struct load *l, struct peer *p, struct err *e)
{
    unsigned status = 0;

    for (;;) {
        uint8_t *room = buf_room(&p->in, 16384);
        int n = room ? SSL_read(p->ssl, room, 16384) : -1, whole;

        if (!room)
            return err_set(e, ERR_INTERNAL, "an answer is longer than %u bytes", ANSWER_MAX);
        if (n <= 0)
            return stopped(l, p, n, "waiting for an answer", e);
        p->in.len += (size_t)n;
        whole = answer_whole(&p->in, &status);
        if (whole)
            return whole < 0 ? err_set(e, ERR_INTERNAL, "an answer is no HTTP") : answered(l, p, status, e);
    }
}

int peer_step(struct load *l, struct peer *p, struct err *e)
{
    int n;

    if (p->step == PEER_CONNECTING || p->step == PEER_HANDSHAKE) {
        p->step = PEER_HANDSHAKE;
        n = SSL_do_handshake(p->ssl);
        if (n != 1)
            return stopped(l, p, n, "handshake", e);
        ask(l, p);
    }
    return p->step == PEER_WRITING ? write_on(l, p, e) : read_on(l, p, e);
}
