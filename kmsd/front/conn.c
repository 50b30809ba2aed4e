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

void conn_phase(struct conn *c, enum conn_phase phase)
{
    static const unsigned idle[] = {[PHASE_IDLE] = IDLE_SECONDS, [PHASE_WORK] = 0, [PHASE_ANSWER] = IDLE_SECONDS};
    uint64_t seconds = phase == PHASE_HANDSHAKE || phase == PHASE_REQUEST ? front.settings.request_seconds : idle[phase];

    c->phase = phase;
    c->deadline = seconds ? clock_boot_us() + (int64_t)seconds * 1000000 : 0;
}

static void name_peer(struct conn *c, const struct sockaddr *a)
{
    const struct sockaddr_in6 *v6 = (const void *)a;
    const struct sockaddr_in *v4 = (const void *)a;
    /* An IPv4 peer of an IPv6 socket is named as on an IPv4 socket. */
    bool mapped = a->sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr);
    const void *from = a->sa_family == AF_INET6 ? (const void *)(v6->sin6_addr.s6_addr + (mapped ? 12 : 0)) : (const void *)&v4->sin_addr;

    if (!inet_ntop(mapped ? AF_INET : a->sa_family, from, c->peer, sizeof c->peer))
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
    c->held = BUF_INIT(64u << 10);
    c->ready = BUF_INIT(64u << 10);
    name_peer(c, peer->client_addr);
    if (!tsearch(c, &tree, by_session)) {
        free(c);
        return NULL;
    }
    c->next = front.conns;
    if (c->next)
        c->next->prev = c;
    front.conns = c;
    conn_phase(c, PHASE_HANDSHAKE);
    return c;
}

static void conn_free(struct conn *c)
{
    if (c->phase == PHASE_HANDSHAKE)
        core_count_tls(c->tls_reason ? c->tls_reason : "tls-aborted");
    tdelete(c, &tree, by_session);
    if (c->next)
        c->next->prev = c->prev;
    if (c->prev)
        c->prev->next = c->next;
    else
        front.conns = c->next;
    buf_free(&c->held);
    buf_free(&c->ready);
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
            if (c->phase == PHASE_REQUEST)
                core_refused(c, ERR_TIMEOUT);
            if (c->phase == PHASE_HANDSHAKE)
                c->tls_reason = "tls-timeout";
            shutdown(c->fd, SHUT_RDWR);
        }
}
