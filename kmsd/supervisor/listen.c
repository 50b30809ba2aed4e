/* The listening sockets: bound once, so that a front that starts again keeps its port and its queue. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/fsutil.h"
#include "base/num.h"
#include "kmsd/settings.h"
#include "kmsd/supervisor/children.h"

#define BACKLOG 512
#define BIND_TRIES 60
#define BIND_PAUSE_MS 50

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

/* The port of a daemon that was just killed can be taken for a moment: a client that tries to reach it on the same machine may be given that very
 * port for its own end, and then talks to itself until it finds out. */
static int bind_patiently(int fd, const union address *a, socklen_t len)
{
    const struct timespec pause = {.tv_nsec = BIND_PAUSE_MS * 1000000L};

    for (unsigned tries = 0; bind(fd, &a->any, len); tries++)
        if (errno != EADDRINUSE || tries == BIND_TRIES || nanosleep(&pause, NULL))
            return -1;
    return 0;
}

int listen_on(const char *address, struct err *e)
{
    union address a;
    socklen_t len;
    int fd, on = 1;

    if (parse(address, &a, &len))
        return err_set(e, ERR_BAD_REQUEST, "\"%s\" is not ADDRESS:PORT with a numeric address (IPv6 in brackets)", address);
    fd = socket(a.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) || bind_patiently(fd, &a, len) || listen(fd, BACKLOG)) {
        err_errno(e, ERR_INTERNAL, errno, "listening on %s", address);
        if (fd >= 0)
            close(fd);
        return -1;
    }
    return fd;
}

static bool is_loopback(const union address *a)
{
    return a->any.sa_family == AF_INET ? ntohl(a->v4.sin_addr.s_addr) >> 24 == 127 : IN6_IS_ADDR_LOOPBACK(&a->v6.sin6_addr);
}

/* Bound through the descriptor of its directory: a path may be longer than a socket's address. What a killed daemon left behind goes first. */
static int listen_unix(const char *path, struct err *e)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    char dir[PATH_MAX];
    BUF_AUTO name = BUF_INIT(sizeof a.sun_path - 1);
    size_t n = strlen(path);
    const char *base;
    struct stat st;
    int dir_fd, fd = -1;

    memcpy(dir, path, n + 1);
    *strrchr(dir, '/') = '\0';
    base = path + strlen(dir) + 1;
    dir_fd = open(*dir ? dir : "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir_fd >= 0 && !fstatat(dir_fd, base, &st, AT_SYMLINK_NOFOLLOW) && S_ISSOCK(st.st_mode))
        (void)unlinkat(dir_fd, base, 0);
    buf_printf(&name, "/proc/self/fd/%d/%s", dir_fd, base);
    if (dir_fd >= 0 && !buf_ok(&name)) {
        memcpy(a.sun_path, name.data, name.len);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    }
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) || fchmodat(dir_fd, base, 0660, 0) || listen(fd, BACKLOG)) {
        err_errno(e, ERR_INTERNAL, errno, "listening on %s", path);
        if (fd >= 0)
            close(fd);
        fd = -1;
    }
    if (dir_fd >= 0)
        close(dir_fd);
    return fd;
}

static const char *health_where(const struct settings *s)
{
    return s->listen_health[0] ? s->listen_health : "unix:health.sock";
}

void listen_health_end(const struct settings *s)
{
    const char *where = health_where(s);
    char path[PATH_MAX];

    if (!strncmp(where, "unix:", 5) && !path_join(path, sizeof path, s->dir, where + 5))
        (void)unlink(path);
}

int listen_health(const struct settings *s, struct err *e)
{
    const char *where = health_where(s);
    char path[PATH_MAX];
    union address a;
    socklen_t len;

    if (!strncmp(where, "unix:", 5))
        return path_join(path, sizeof path, s->dir, where + 5) ? err_set(e, ERR_BAD_REQUEST, "the path in listen.health is too long") : listen_unix(path, e);
    if (parse(where, &a, &len) || !is_loopback(&a))
        return err_set(e, ERR_BAD_REQUEST, "listen.health is \"%s\": it must be unix:PATH, an address of the loopback with a port, or off; "
                                            "the door speaks plain HTTP", where);
    return listen_on(where, e);
}
