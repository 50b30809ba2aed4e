/* The health door: plain HTTP for probes, /healthz and /readyz from what the core said last, and /metrics, which it asks the core for. */
#include "kmsd/front/health.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/fsutil.h"
#include "base/json.h"
#include "base/log.h"
#include "base/prom.h"

enum { CORE_FD = 3, LISTEN_FD = 4, STEP_MS = 250, CONNECTIONS = 128, MEMORY = 8192 };
#define WHOLE_TIME_US INT64_C(3000000) /* from accept to close, whatever the peer does */
#define STATE_MAX 16384
#define METRICS_MAX (2u << 20)
#define METRICS_PAUSE_US INT64_C(100000) /* however many ask, the core is asked ten times a second */
#define METRICS_WAIT_US INT64_C(2000000) /* a core that is silent for so long is called down */

/* One connection, for its deadline. */
struct probe {
    struct probe *prev, *next;
    int fd;
    int64_t deadline;
    struct MHD_Connection *waiting; /* for metrics, since then; NULL = it does not */
    int64_t since;
};
static struct {
    struct MHD_Daemon *daemon;
    struct stream core;
    struct probe *probes;
    struct buf state;     /* canonical JSON, empty = the core has said nothing yet */
    bool ready;
    struct buf metrics;
    bool asked;           /* the core's answer is due */
    int64_t asked_at;     /* the last time */
} health;

static void notify(void *cls, struct MHD_Connection *connection, void **socket_context, enum MHD_ConnectionNotificationCode code)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct probe *p = *socket_context;

    (void)cls;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        *socket_context = p = calloc(1, sizeof *p);
        if (!p)
            return;
        *p = (struct probe){.next = health.probes, .fd = info->connect_fd, .deadline = clock_boot_us() + WHOLE_TIME_US};
        if (p->next)
            p->next->prev = p;
        health.probes = p;
    } else if (p) {
        if (p->next)
            p->next->prev = p->prev;
        *(p->prev ? &p->prev->next : &health.probes) = p->next;
        free(p);
    }
}

static enum MHD_Result answer(struct MHD_Connection *connection, unsigned status, const char *type, struct span body)
{
    struct MHD_Response *r = MHD_create_response_from_buffer(body.len, (void *)(uintptr_t)body.data, MHD_RESPMEM_MUST_COPY);
    enum MHD_Result result = MHD_NO;

    if (r && MHD_add_response_header(r, "Content-Type", type) && MHD_add_response_header(r, "Cache-Control", "no-store") &&
        MHD_add_response_header(r, "Connection", "close") && (status != 405 || MHD_add_response_header(r, "Allow", "GET, HEAD")))
        result = MHD_queue_response(connection, status, r);
    if (r)
        MHD_destroy_response(r);
    return result;
}

static void write_up(bool up)
{
    prom_family(&health.metrics, "kmsd_up", "gauge", "1 = the core answers.");
    prom_put(&health.metrics, "kmsd_up", NULL, 0, up);
}

/* Its answer is the one that the core gives to a question asked from now on. */
static enum MHD_Result metrics(struct MHD_Connection *connection, void **req_cls)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct probe *p = info ? info->socket_context : NULL;

    if (*req_cls)
        return answer(connection, 200, "text/plain; version=0.0.4; charset=utf-8", buf_span(&health.metrics));
    if (!p)
        return MHD_NO;
    *req_cls = p;
    p->waiting = connection;
    p->since = clock_boot_us();
    MHD_suspend_connection(connection);
    return MHD_YES;
}

static void go_on(struct probe *p)
{
    struct MHD_Connection *connection = p->waiting;

    p->waiting = NULL;
    MHD_resume_connection(connection);
}

/* Until when may the loop sleep? */
static int ask_core(int64_t now)
{
    bool wanted = false;
    size_t mark;

    for (struct probe *p = health.probes; p; p = p->next) {
        if (p->waiting && now - p->since > METRICS_WAIT_US) {
            buf_clear(&health.metrics);
            write_up(false);
            go_on(p);
        }
        wanted |= p->waiting != NULL;
    }
    if (!wanted || health.asked)
        return STEP_MS;
    if (now - health.asked_at < METRICS_PAUSE_US)
        return (int)((METRICS_PAUSE_US - (now - health.asked_at)) / 1000) + 1;
    health.asked = true;
    health.asked_at = now;
    mark = frame_begin(&health.core.out, FRAME_METRICS_ASK, 0);
    frame_end(&health.core.out, mark);
    return STEP_MS;
}

static void take_metrics(struct span text)
{
    health.asked = false;
    buf_clear(&health.metrics);
    buf_put(&health.metrics, text.data, text.len);
    write_up(true);
    for (struct probe *p = health.probes; p; p = p->next)
        if (p->waiting && p->since <= health.asked_at)
            go_on(p);
}

/* A request is answered at its first line; a body is never read. */
static enum MHD_Result handle(void *cls, struct MHD_Connection *connection, const char *url, const char *method, const char *version,
                              const char *upload,
                              size_t *upload_size, void **req_cls)
{
    static const char waiting[] = "{\"ready\":false,\"reasons\":[\"the core is starting\"]}";

    (void)cls;
    (void)version;
    (void)upload;
    (void)upload_size;
    if (strcmp(method, "GET") && strcmp(method, "HEAD"))
        return answer(connection, 405, "text/plain", span_str("GET or HEAD\n"));
    if (!strcmp(url, "/healthz"))
        return answer(connection, 200, "text/plain", span_str("ok\n"));
    if (!strcmp(url, "/metrics"))
        return metrics(connection, req_cls);
    if (strcmp(url, "/readyz"))
        return answer(connection, 404, "text/plain", span_str("/healthz, /readyz or /metrics\n"));
    return answer(connection, health.ready ? 200 : 503, "application/json", health.state.len ? buf_span(&health.state) : span_str(waiting));
}

/* -1: the core is gone, or speaks of something else. */
static int listen_to_core(void)
{
    struct frame f;
    struct err e = {0};
    int more, got = stream_fill(&health.core);

    while ((more = stream_next(&health.core, &f, &e)) > 0) {
        if (f.type == FRAME_METRICS && health.asked) {
            take_metrics(f.field[TAG_METRICS]);
            continue;
        }
        JSON_AUTO *state = f.type == FRAME_STATE ? json_read_object(f.field[TAG_STATE].data, f.field[TAG_STATE].len, STATE_MAX, &e) : NULL;

        if (!state)
            return -1;
        health.ready = json_is_true(json_object_get(state, "ready"));
        buf_clear(&health.state);
        buf_put(&health.state, f.field[TAG_STATE].data, f.field[TAG_STATE].len);
    }
    return more < 0 || got < 0 ? -1 : 0;
}

static void reap(int64_t now)
{
    for (struct probe *p = health.probes; p; p = p->next)
        if (now >= p->deadline) {
            (void)shutdown(p->fd, SHUT_RDWR);
            p->deadline = INT64_MAX;
        }
}

static int loop(int epoll)
{
    struct epoll_event events[2];

    for (;;) {
        int step = ask_core(clock_boot_us()), n;
        MHD_UNSIGNED_LONG_LONG ms;

        if (MHD_get_timeout(health.daemon, &ms) == MHD_YES && ms < (unsigned)step)
            step = (int)ms;
        if (health.core.out.len && stream_flush(&health.core) < 0)
            return 0;
        n = epoll_wait(epoll, events, 2, step);
        if (n < 0 && errno != EINTR)
            return 1;
        for (int i = 0; i < n; i++)
            if (events[i].data.fd == CORE_FD && listen_to_core())
                return 0;
        reap(clock_boot_us());
        if (MHD_run(health.daemon) != MHD_YES)
            return 1;
    }
}

static int watch(int epoll, int fd)
{
    return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &(struct epoll_event){.events = EPOLLIN, .data.fd = fd});
}

int health_serve(const struct settings *s)
{
    const union MHD_DaemonInfo *info;
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    char level[SANDBOX_LEVEL];
    struct err e = {0};
    size_t mark;

    health.state = BUF_INIT(STATE_MAX);
    health.metrics = BUF_INIT(METRICS_MAX);
    health.daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, handle, NULL, MHD_OPTION_LISTEN_SOCKET, LISTEN_FD,
                                     MHD_OPTION_CONNECTION_LIMIT,
                                     (unsigned)CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT, 3u, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MEMORY,
                                     MHD_OPTION_NOTIFY_CONNECTION, notify, NULL, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
    info = health.daemon ? MHD_get_daemon_info(health.daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
    if (!info || epoll < 0 || watch(epoll, info->epoll_fd) || watch(epoll, CORE_FD) || sandbox_enter(SANDBOX_HEALTH, s, level, &e)) {
        log_line(LOG_LEVEL_ERROR, "start", "text=\"the health door does not start%s%s\"", e.detail[0] ? ": " : "", e.detail);
        return e.code ? 78 : 1;
    }
    stream_init(&health.core, CORE_FD);
    mark = frame_begin(&health.core.out, FRAME_HELLO, 0);
    frame_put_str(&health.core.out, TAG_SANDBOX, level);
    frame_end(&health.core.out, mark);
    return stream_flush(&health.core) < 0 ? 0 : loop(epoll);
}
