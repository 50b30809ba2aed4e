/* The listening sockets: bound once, so that a front that starts again keeps its port and its queue. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/num.h"
#include "kmsd/supervisor/children.h"

#define BACKLOG 512

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static int parse(const char *text, union address *a, socklen_t *len)
{
    const char *colon = strrchr(text, ':');
    char host[64];
    size_t n = colon ? (size_t)(colon - text) : 0;
    uint64_t port;

    if (!n || n >= sizeof host || num_parse_u64(colon + 1, strlen(colon + 1), 0, 65535, &port))
        return -1;
    memset(a, 0, sizeof *a);
    memcpy(host, text, n);
    host[n] = '\0';
    if (host[0] == '[' && host[n - 1] == ']') {
        host[n - 1] = '\0';
        a->v6.sin6_family = AF_INET6;
        a->v6.sin6_port = htons((uint16_t)port);
        *len = sizeof a->v6;
        return inet_pton(AF_INET6, host + 1, &a->v6.sin6_addr) == 1 ? 0 : -1;
    }
    a->v4.sin_family = AF_INET;
    a->v4.sin_port = htons((uint16_t)port);
    *len = sizeof a->v4;
    return inet_pton(AF_INET, host, &a->v4.sin_addr) == 1 ? 0 : -1;
}

int listen_on(const char *address, struct err *e)
{
    union address a;
    socklen_t len;
    int fd, on = 1;

    if (parse(address, &a, &len))
        return err_set(e, ERR_BAD_REQUEST, "\"%s\" is not ADDRESS:PORT with a numeric address (IPv6 in brackets)", address);
    fd = socket(a.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) || bind(fd, &a.any, len) || listen(fd, BACKLOG)) {
        err_errno(e, ERR_INTERNAL, errno, "listening on %s", address);
        if (fd >= 0)
            close(fd);
        return -1;
    }
    return fd;
}
