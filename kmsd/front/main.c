/* kmsd-front: one TLS door. Parses the network, decides nothing. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>

#include "base/fsutil.h"
#include "base/log.h"
#include "base/secret.h"
#include "kmsd/front/health.h"
#include "kmsd/front/front.h"
#include "kmsd/sandbox/sandbox.h"

enum { CORE_FD = 3, LISTEN_FD = 4, REAP_MS = 250, EXIT_SETTINGS = 78, QUIET_TURNS = 4, DESCRIPTORS_BESIDES = 32 };

/* Holds the largest head that passes, with a list node for each of its 64 fields and 64 query parameters, and the head of an answer. The library clears all of
 * it after every request. */
#define MEMORY_PER_CONNECTION ((size_t)(32u << 10))

struct front front;

static struct MHD_Daemon *start(void)
{
    return MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_TLS | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, http_handle, NULL, MHD_OPTION_LISTEN_SOCKET,
                            LISTEN_FD, MHD_OPTION_HTTPS_MEM_TRUST, tls_trust(), MHD_OPTION_HTTPS_CERT_CALLBACK, tls_certificate,
                            MHD_OPTION_HTTPS_PRIORITIES, "NORMAL:-VERS-ALL:+VERS-TLS1.3:%NO_TICKETS:%PROFILE_MEDIUM",
                            MHD_OPTION_CONNECTION_LIMIT, (unsigned)front.settings.connections, MHD_OPTION_PER_IP_CONNECTION_LIMIT, (unsigned)front.settings.connections_per_peer, MHD_OPTION_CONNECTION_TIMEOUT, 120u,
                            MHD_OPTION_CONNECTION_MEMORY_LIMIT, MEMORY_PER_CONNECTION, MHD_OPTION_NOTIFY_CONNECTION, conn_notify, NULL,
                            MHD_OPTION_NOTIFY_COMPLETED, http_completed, NULL, MHD_OPTION_URI_LOG_CALLBACK, http_target, NULL,
                            MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
}

static int watch(int epoll, int fd, uint32_t events, bool change)
{
    struct epoll_event ev = {.events = events, .data.fd = fd};

    return epoll_ctl(epoll, change ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &ev);
}

static int timeout(void)
{
    MHD_UNSIGNED_LONG_LONG ms;

    return MHD_get_timeout(front.daemon, &ms) == MHD_YES && ms < REAP_MS ? (int)ms : REAP_MS;
}

/* The library asks to be run at once as long as any handshake is not over. After some turns in which nothing came or went, a pause, which any event
 * ends. */
static int pause_after(unsigned quiet)
{
    int ms = timeout(), most = quiet < QUIET_TURNS ? 0 : 1 << (quiet - QUIET_TURNS < 4 ? quiet - QUIET_TURNS : 4);

    return ms ? ms : most;
}

/* Ends when the core is gone. */
static int loop(int epoll)
{
    struct epoll_event events[4];
    bool writing = false;
    int64_t reaped = 0;
    unsigned quiet = 0;
    uint64_t before = 0;

    for (;;) {
        int n = epoll_wait(epoll, events, 4, pause_after(quiet)), left;
        int64_t now = front.now = clock_boot_us();

        if (n < 0 && errno != EINTR)
            return 1;
        for (int i = 0; i < n; i++)
            if (events[i].data.fd == CORE_FD && core_receive())
                return 0;
        if (MHD_run(front.daemon) != MHD_YES)
            return 1;
        if (now - reaped >= REAP_MS * 1000) {
            reaped = now;
            conn_reap(now);
            core_tick(now);
        }
        if (drain_done(now))
            return 0;
        quiet = n > 0 || front.progress != before ? 0 : quiet + 1;
        before = front.progress;
        left = front.core.out.len ? stream_flush(&front.core) : 0;
        if (left < 0)
            return 0;
        if ((left > 0) != writing) {
            writing = left > 0;
            if (watch(epoll, CORE_FD, EPOLLIN | (writing ? (uint32_t)EPOLLOUT : 0), true))
                return 1;
        }
    }
}

/* Better refused at the start than connections that are dropped without a word. */
static int check_descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur >= front.settings.connections + DESCRIPTORS_BESIDES)
        return 0;
    log_line(LOG_LEVEL_ERROR, "start", "text=\"limits.connections is %llu, but this process may have %llu descriptors only; "
             "raise the limit (LimitNOFILE, ulimit -n) or lower the setting\"",
             (unsigned long long)front.settings.connections, (unsigned long long)limit.rlim_cur);
    return -1;
}

static int serve(void)
{
    const union MHD_DaemonInfo *info;
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    char level[SANDBOX_LEVEL];
    struct err e = {0};
    size_t mark;

    front.daemon = start();
    info = front.daemon ? MHD_get_daemon_info(front.daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
    if (!info || epoll < 0 || watch(epoll, info->epoll_fd, EPOLLIN, false) || watch(epoll, CORE_FD, EPOLLIN, false)) {
        log_line(LOG_LEVEL_ERROR, "start", "text=\"the HTTP library does not start\"");
        return 1;
    }
    if (sandbox_enter(SANDBOX_FRONT, &front.settings, level, &e)) {
        log_line(LOG_LEVEL_ERROR, "start", "text=\"%s\"", e.detail);
        return EXIT_SETTINGS;
    }
    stream_init(&front.core, CORE_FD);
    mark = frame_begin(&front.core.out, FRAME_HELLO, 0);
    frame_put_str(&front.core.out, TAG_SANDBOX, level);
    frame_put(&front.core.out, TAG_CERT, tls_shown());
    frame_end(&front.core.out, mark);
    return stream_flush(&front.core) < 0 ? 0 : loop(epoll);
}

static int arguments(int argc, char **argv, const char **file, bool *check)
{
    static const struct option options[] = {
        {"settings", required_argument, NULL, 's'}, {"door", required_argument, NULL, 'd'}, {"parent", required_argument, NULL, 'p'},
        {"check", no_argument, NULL, 'c'}, {0}};
    int opt, parent = 0;
    bool door = false;

    while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (opt == 's')
            *file = optarg;
        else if (opt == 'c')
            *check = true;
        else if (opt == 'p')
            parent = (int)strtol(optarg, NULL, 10);
        else if (opt == 'd' && (!strcmp(optarg, "ci") || !strcmp(optarg, "admin") || !strcmp(optarg, "health"))) {
            front.door = !strcmp(optarg, "ci") ? DOOR_CI : !strcmp(optarg, "admin") ? DOOR_ADMIN : DOOR_HEALTH;
            door = true;
        } else
            return -1;
    }
    process_tie_to_parent(parent);
    return *file && door && optind == argc ? 0 : -1;
}

int main(int argc, char **argv)
{
    const char *file = NULL;
    struct err e = {0};
    bool check = false;
    int failed;

    process_harden();
    log_program("kmsd-front");
    (void)sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
    (void)sigaction(SIGINT, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
    (void)sigaction(SIGTERM, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
    drain_watch();
    if (arguments(argc, argv, &file, &check)) {
        fprintf(stderr, "kmsd-front is started by kmsd, not by hand\n");
        return 2;
    }
    failed = settings_load(file, &front.settings, &e);
    if (!failed)
        log_set(front.settings.log_format, front.settings.log_level);
    if (failed || (front.door != DOOR_HEALTH && tls_load(&e))) {
        log_line(LOG_LEVEL_ERROR, "start", "text=\"%s\"", e.detail);
        return EXIT_SETTINGS;
    }
    if (check)
        return 0;
    if (front.door != DOOR_HEALTH && check_descriptors())
        return EXIT_SETTINGS;
    return front.door == DOOR_HEALTH ? health_serve(&front.settings) : serve();
}
