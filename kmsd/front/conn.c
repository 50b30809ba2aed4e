/* The connections: who they are, and how long they may take. */
#include <arpa/inet.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fsutil.h"
#include "kmsd/front/front.h"

#define SLOW_US INT64_C(1000000) /* a request that takes longer to arrive may have to make room */

static void *tree, *peers;
static struct conn *asked_last;

static int by_session(const void *a, const void *b)
{
    const gnutls_session_t *x = a, *y = b; /* the first member of a connection, or the session that is looked for */

    return (*x > *y) - (*x < *y);
}

/* The libraries ask for one connection several times before they turn to the next. */
struct conn *conn_of(gnutls_session_t session)
{
    void *const *found;

    if (asked_last && asked_last->session == session)
        return asked_last;
    found = tfind(&session, &tree, by_session);
    if (found)
        asked_last = *found;
    return found ? *found : NULL;
}

void conn_phase(struct conn *c, enum conn_phase phase)
{
    const uint64_t request = front.settings.request_seconds;
    const uint64_t seconds[] = {[PHASE_HANDSHAKE] = request, [PHASE_IDLE] = IDLE_SECONDS, [PHASE_REQUEST] = request, [PHASE_WORK] = 0,
                                [PHASE_ANSWER] = ANSWER_FACTOR * request};

    c->phase = phase;
    c->since = clock_boot_us();
    c->deadline = seconds[phase] ? c->since + (int64_t)seconds[phase] * 1000000 : 0;
}

static void name_peer(struct peer *p, const struct sockaddr *a)
{
    const struct sockaddr_in6 *v6 = (const void *)a;
    const struct sockaddr_in *v4 = (const void *)a;
    /* An IPv4 peer of an IPv6 socket is named as on an IPv4 socket. */
    bool mapped = a->sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr);
    const void *from = a->sa_family == AF_INET6 ? (const void *)(v6->sin6_addr.s6_addr + (mapped ? 12 : 0)) : (const void *)&v4->sin_addr;

    if (!inet_ntop(mapped ? AF_INET : a->sa_family, from, p->name, sizeof p->name))
        p->name[0] = '\0';
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct peer *)a)->name, ((const struct peer *)b)->name);
}

static struct peer *peer_take(const struct sockaddr *a)
{
    struct peer *p = calloc(1, sizeof *p);
    void *const *found;

    if (!p)
        return NULL;
    name_peer(p, a);
    found = tsearch(p, &peers, by_name);
    if (!found || *found != p)
        free(p);
    p = found ? *found : NULL;
    if (p)
        p->structs++;
    return p;
}

static void peer_leave(struct peer *p)
{
    if (--p->structs)
        return;
    tdelete(p, &peers, by_name);
    free(p);
}

/* From now on it counts no more; the library closes it when it finds the socket shut. */
static void shut(struct conn *c)
{
    if (c->over)
        return;
    c->over = true;
    c->deadline = c->try_at = 0;
    c->peer->conns--;
    front.n_conns--;
    front.progress++;
    shutdown(c->fd, SHUT_RDWR);
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
    c->peer = peer_take(peer->client_addr);
    c->held = BUF_INIT(64u << 10);
    c->ready = BUF_INIT(64u << 10);
    c->answer = BUF_INIT(64u << 10);
    if (!c->peer || !tsearch(c, &tree, by_session)) {
        if (c->peer)
            peer_leave(c->peer);
        free(c);
        return NULL;
    }
    c->peer->conns++;
    front.n_conns++;
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
    shut(c);
    if (asked_last == c)
        asked_last = NULL;
    peer_leave(c->peer);
    tdelete(c, &tree, by_session);
    if (c->next)
        c->next->prev = c->prev;
    if (c->prev)
        c->prev->next = c->next;
    else
        front.conns = c->next;
    buf_free(&c->held);
    buf_free(&c->ready);
    buf_free(&c->answer);
    free(c);
}

/* May it be closed to make room? Not what the core works on, not an answer on its way, and not a request that arrives as one should. */
static bool dispensable(const struct conn *c, int64_t now)
{
    if (c->over)
        return false;
    return c->phase == PHASE_HANDSHAKE || c->phase == PHASE_IDLE || (c->phase == PHASE_REQUEST && now - c->since > SLOW_US);
}

/* Of two, the one to close first. Whoever holds most pays first, so a flood from few addresses displaces itself. */
static bool first(const struct conn *a, const struct conn *b)
{
    if (a->peer->conns != b->peer->conns)
        return a->peer->conns > b->peer->conns;
    return a->phase != b->phase ? a->phase < b->phase : a->since < b->since;
}

/* newcomer: not that one. */
static void make_room(const struct conn *newcomer, int64_t now)
{
    struct conn *victim = NULL;

    for (struct conn *c = front.conns; c; c = c->next)
        if (c != newcomer && dispensable(c, now) && (!victim || first(c, victim)))
            victim = c;
    if (!victim)
        return;
    if (victim->phase == PHASE_HANDSHAKE && !victim->failed)
        victim->tls_reason = "tls-crowded-out";
    if (victim->phase == PHASE_REQUEST)
        core_refused(victim, ERR_TIMEOUT);
    shut(victim);
}

/* The library accepts nobody beyond its limit: from seven eighths of it on, one goes for every one that comes. */
void conn_notify(void *cls, struct MHD_Connection *connection, void **socket_context, enum MHD_ConnectionNotificationCode code)
{
    const uint64_t limit = front.settings.connections;

    (void)cls;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        *socket_context = conn_new(connection);
        if (*socket_context && front.n_conns > limit - limit / 8)
            make_room(*socket_context, clock_boot_us());
    } else if (*socket_context) {
        conn_free(*socket_context);
    }
}

/* A request that is late is answered where that is possible; for that too there is a time. */
static void end_late(struct conn *c)
{
    if (c->phase == PHASE_REQUEST && !c->late && tap_late(c)) {
        c->late = true;
        c->deadline = clock_boot_us() + (int64_t)front.settings.request_seconds * 1000000;
        front.progress++;
        shutdown(c->fd, SHUT_RD);
        return;
    }
    if (c->phase == PHASE_REQUEST)
        core_refused(c, ERR_TIMEOUT);
    if (c->phase == PHASE_HANDSHAKE && !c->failed)
        c->tls_reason = "tls-timeout";
    shut(c);
}

/* Whoever has just come may still ask. */
void conn_drain(int64_t now)
{
    for (struct conn *c = front.conns; c; c = c->next)
        if (!c->over && ((c->phase == PHASE_IDLE && c->served) || ((c->phase == PHASE_IDLE || c->phase == PHASE_HANDSHAKE) && now - c->since > SLOW_US)))
            shut(c);
}

/* The library's own time limit counts from the last byte; ours counts for the whole request. */
void conn_reap(int64_t now)
{
    for (struct conn *c = front.conns; c; c = c->next)
        if (c->deadline && now > c->deadline)
            end_late(c);
    /* Nobody comes any more, and so nobody makes room. */
    if (front.n_conns >= front.settings.connections)
        make_room(NULL, now);
}
