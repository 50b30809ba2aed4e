/* `kmsd run`: starts the processes of an instance, keeps them running, and stops them. */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fsutil.h"
#include "base/log.h"
#include "base/secret.h"
#include "kmsd/sandbox/sandbox.h"
#include "kmsd/settings.h"
#include "kmsd/supervisor/commands.h"
#include "kmsd/supervisor/instance.h"
#include "kmsd/supervisor/offline.h"
#include "kmsd/supervisor/supervisor.h"

enum { LOCK_WAIT_MS = 5000 };

static void add_child(struct supervisor *s, enum child_role role, unsigned index)
{
    s->child[s->n_children++] = (struct child){.role = role, .index = index};
}

/* Asks the core to drain and record its stop; without a core there is nothing to drain. */
static void ask_stop(struct supervisor *s)
{
    size_t mark;

    end(s, 0);
    if (!s->core.pid)
        return;
    mark = frame_begin(&s->control.out, FRAME_STOP, 0);
    frame_end(&s->control.out, mark);
    (void)!stream_flush(&s->control);
}

static void on_signal(struct supervisor *s)
{
    struct signalfd_siginfo info;

    while (read(s->signals, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGCHLD)
            reap(s);
        else if (info.ssi_signo == SIGHUP)
            reload_doors(s);
        else if (!s->stopping)
            ask_stop(s);
    }
}

static struct child *named(struct supervisor *s, const struct frame *f)
{
    for (unsigned n = 0; n < s->n_children; n++) {
        struct child *c = &s->child[n];

        if (c->role == (enum child_role)frame_u64(f, TAG_ROLE) && c->index == frame_u64(f, TAG_INDEX) && c->pid > 0 &&
            (uint64_t)c->pid == frame_u64(f, TAG_PID))
            return c;
    }
    return NULL;
}

/* The core serves; what it lacks, if anything, a service manager can show. */
static void on_ready(struct supervisor *s, const struct frame *f)
{
    BUF_AUTO text = BUF_INIT(512);

    if (frame_text(f, TAG_REASON, s->lacks, sizeof s->lacks))
        s->lacks[0] = '\0';
    s->ready = true;
    s->start_by = 0;
    if (!s->lacks[0])
        s->core.backoff = 0; /* it has shown that it works */
    if (s->lacks[0])
        log_line(LOG_LEVEL_ERROR, "not-ready", "text=\"%s\"", s->lacks);
    else
        log_line(LOG_LEVEL_INFO, "ready", "ci=%s admin=%s", s->settings.listen_ci, s->settings.listen_admin);
    buf_printf(&text, "READY=1\nSTATUS=%s\n", s->lacks[0] ? s->lacks : "ready");
    notify(buf_str(&text));
}

static void on_control(struct supervisor *s)
{
    struct frame f;
    struct err e = {0};
    int more, got = stream_fill(&s->control);

    while ((more = stream_next(&s->control, &f, &e)) > 0) {
        struct child *c = f.type == FRAME_KILL || f.type == FRAME_PROVED ? named(s, &f) : NULL;

        if (f.type == FRAME_READY) {
            on_ready(s, &f);
        } else if (c && f.type == FRAME_PROVED) {
            c->backoff = 0;
        } else if (c) {
            log_child(LOG_LEVEL_WARNING, c, "the core asked for its end");
            kill(c->pid, SIGKILL);
        }
    }
    if (more < 0)
        log_line(LOG_LEVEL_ERROR, "control", "text=\"the core does not speak as it should: %s\"", e.detail);
    if (((got < 0 && !s->stopping) || more < 0) && s->core.pid)
        kill(s->core.pid, SIGKILL); /* one that stops has closed its end, and is about to be reaped */
}

static void check_times(struct supervisor *s, int64_t now)
{
    if (s->stopping) {
        if (now > s->stop_by && s->core.pid)
            kill(s->core.pid, SIGKILL);
        if (!s->core.pid && now > s->kill_at)
            kill_children(s);
        return;
    }
    if (s->start_by && now > s->start_by && s->core.pid) {
        log_line(LOG_LEVEL_ERROR, "start", "text=\"the core said nothing for %d seconds\"", (int)(START_US / 1000000));
        kill(s->core.pid, SIGKILL);
        if (!s->ready)
            end(s, 1);
        return;
    }
    if (!s->core.pid && now > s->kill_at)
        kill_children(s);
    latch_watch(s);
    reload_watch(s, now);
    start_due(s, now);
}

static int loop(struct supervisor *s)
{
    while (!s->stopping || !none_left(s)) {
        struct pollfd p[2] = {{.fd = s->signals, .events = POLLIN}, {.fd = s->core.pid ? s->control.fd : -1, .events = POLLIN}};

        if (s->core.pid && s->control.out.len)
            (void)!stream_flush(&s->control);
        if (poll(p, 2, 50) < 0 && errno != EINTR)
            return 1;
        if (p[1].revents && s->core.pid)
            on_control(s);
        if (p[0].revents)
            on_signal(s);
        if (s->stopping && s->result && s->core.pid)
            kill(s->core.pid, SIGTERM), kill(s->core.pid, SIGKILL);
        check_times(s, clock_boot_us());
    }
    if (s->listen[2] >= 0)
        listen_health_end(&s->settings);
    return s->result;
}

/* As many descriptors as the system allows: a door needs one for each connection. Its children inherit that. */
static void raise_descriptors(void)
{
    struct rlimit limit;

    if (!getrlimit(RLIMIT_NOFILE, &limit) && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int set_up(struct supervisor *s, struct err *e)
{
    char lock[PATH_MAX], level[SANDBOX_LEVEL];
    bool health = strcmp(s->settings.listen_health, "off") != 0;
    sigset_t set;

    if (path_join(lock, sizeof lock, s->settings.dir, "lock") || lock_file(lock, LOCK_WAIT_MS, e) < 0)
        return e->code ? -1 : err_set(e, ERR_BAD_REQUEST, "the path of the directory is too long");
    s->listen[0] = listen_on(s->settings.listen_ci, e);
    s->listen[1] = s->listen[0] < 0 ? -1 : listen_on(s->settings.listen_admin, e);
    if (s->listen[1] < 0 || (health && (s->listen[2] = listen_health(&s->settings, e)) < 0))
        return -1;
    sigemptyset(&set);
    for (size_t n = 0; n < 4; n++)
        sigaddset(&set, (const int[]){SIGCHLD, SIGTERM, SIGINT, SIGHUP}[n]);
    if (sigprocmask(SIG_BLOCK, &set, NULL) || (s->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)) < 0)
        return err_errno(e, ERR_INTERNAL, errno, "signals");
    (void)sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
    add_child(s, CHILD_FRONT_CI, 0);
    add_child(s, CHILD_FRONT_ADMIN, 0);
    if (health)
        add_child(s, CHILD_FRONT_HEALTH, 0);
    add_child(s, CHILD_READER, 0);
    add_child(s, CHILD_LANE_ADMIN, 0);
    for (unsigned n = 0; n < settings_lanes(&s->settings); n++)
        add_child(s, CHILD_LANE_SIGN, n);
    if (settings_latch(&s->settings, s->latch, sizeof s->latch))
        return err_set(e, ERR_BAD_REQUEST, "the path of tokens.lock is too long");
    s->latch_on_disk = file_exists(s->latch);
    if (account_of(&s->settings, CHILD_CORE, &s->core.account, e))
        return -1;
    for (unsigned n = 0; n < s->n_children; n++)
        if (account_of(&s->settings, s->child[n].role, &s->child[n].account, e))
            return -1;
    process_allow_locking();
    raise_descriptors();
    if (sandbox_enter(SANDBOX_SUPERVISOR, &s->settings, level, e))
        return -1;
    s->start_by = clock_boot_us() + START_US;
    return start_core(s, e);
}

static const char USAGE[] = "usage: kmsd run (--settings FILE | --dir DIR)\n\n"
                            "Runs the instance in the foreground until SIGTERM or SIGINT; readiness by sd_notify(3).\n";

int command_run(int argc, char **argv)
{
    static const struct option options[] = {
        {"settings", required_argument, NULL, 's'}, {"dir", required_argument, NULL, 'd'}, {"allow-dev", no_argument, NULL, 'a'},
        {"help", no_argument, NULL, 'h'},           {0}};
    struct supervisor s = {.core = {.role = CHILD_CORE}, .listen = {-1, -1, -1}};
    char file[PATH_MAX] = "";
    bool allow_dev = false;
    struct err e = {0};
    int opt;

    while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (opt == 'a')
            allow_dev = true;
        else if (opt != 's' && opt != 'd')
            return opt == 'h' ? fputs(USAGE, stdout), 0 : offline_usage(argv, USAGE, NULL);
        else if (path_join(file, sizeof file, opt == 'd' ? optarg : "", opt == 'd' ? "kmsd.yaml" : optarg))
            return offline_usage(argv, USAGE, "the path is too long");
    }
    if (!file[0] || optind != argc)
        return offline_usage(argv, USAGE, file[0] ? "there is an argument that is no option" : "which instance? --dir or --settings is missing");
    /* What stands in the settings is the same at the next attempt: a service manager need not make one. */
    if (settings_load(file, &s.settings, &e) || instance_check_mode(&s.settings, allow_dev, &e) || offline_owner(&s.settings, &e)) {
        fprintf(stderr, "kmsd run: %s\n", e.detail);
        return EXIT_REFUSES;
    }
    log_set(s.settings.log_format, s.settings.log_level);
    if (set_up(&s, &e)) {
        fprintf(stderr, "kmsd run: %s\n", e.detail);
        kill_children(&s);
        return 1;
    }
    return loop(&s);
}
