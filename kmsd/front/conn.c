/* The connections: who they are, and how long they may take. */
#include <arpa/inet.h>
#include <search.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/fsutil.h"
#include "kmsd/front/front.h"

static void *tree;

static int by_session(const void *a, const void *b)
{
    const struct conn *x = a, *y = b;

    return (x->session > y->session) - (x->session < y->session);
}

struct conn *conn_of(gnutls_session_t session)
{
    struct conn key = {.session = session};
    void *const *found = tfind(&key, &tree, by_session);

    return found ? *found : NULL;
}

void conn_deadline(struct conn *c, unsigned seconds)
{
    c->deadline = seconds ? clock_boot_us() + (int64_t)seconds * 1000000 : 0;
}

static void name_peer(struct conn *c, const struct sockaddr *a)
{
    const void *from = a->sa_family == AF_INET6 ? (const void *)&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr
                                                : (const void *)&((const struct sockaddr_in *)(const void *)a)->sin_addr;

    if (!inet_ntop(a->sa_family, from, c->peer, sizeof c->peer))
        c->peer[0] = '\0';
}

static struct conn *conn_new(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *session = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    const union MHD_ConnectionInfo *fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    const union MHD_ConnectionInfo *peer = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    struct conn *c = session && fd && peer ? calloc(1, sizeof *c) : NULL;

    if (!c)
        return NULL;
    c->session = session->tls_session;
    c->fd = fd->connect_fd;
    c->ready = BUF_INIT(1u << 20);
    name_peer(c, peer->client_addr);
    if (!tsearch(c, &tree, by_session)) {
        free(c);
        return NULL;
    }
    c->next = front.conns;
    if (c->next)
        c->next->prev = c;
    front.conns = c;
    conn_deadline(c, (unsigned)front.settings.request_seconds);
    return c;
}

static void conn_free(struct conn *c)
{
    if (!c->verified)
        core_count_tls(c->tls_reason ? c->tls_reason : "tls-handshake");
    tdelete(c, &tree, by_session);
    if (c->next)
        c->next->prev = c->prev;
    if (c->prev)
        c->prev->next = c->next;
    else
        front.conns = c->next;
    buf_wipe(&c->ready);
    free(c);
}

void conn_notify(void *cls, struct MHD_Connection *connection, void **socket_context, enum MHD_ConnectionNotificationCode code)
{
    (void)cls;
    if (code == MHD_CONNECTION_NOTIFY_STARTED)
        *socket_context = conn_new(connection);
    else if (*socket_context)
        conn_free(*socket_context);
}

/* The library's own time limit counts from the last byte; ours counts for the whole request. */
void conn_reap(int64_t now)
{
    for (struct conn *c = front.conns; c; c = c->next)
        if (c->deadline && now > c->deadline) {
            c->deadline = 0;
            if (c->verified)
                core_refused(c, ERR_TIMEOUT);
            shutdown(c->fd, SHUT_RDWR);
        }
}
