/* `kmsd run`: starts the processes of an instance, keeps them running, and stops them. */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fsutil.h"
#include "base/json.h"
#include "base/log.h"
#include "base/num.h"
#include "kmsd/settings.h"
#include "kmsd/supervisor/children.h"
#include "kmsd/supervisor/commands.h"
#include "kmsd/supervisor/instance.h"

enum { LOCK_WAIT_MS = 5000, STOP_US = 12000000, START_US = 60000000 };

struct supervisor {
    struct settings settings;
    struct child core, child[CHILDREN_MAX];
    unsigned n_children;
    struct stream control;
    int signals, listen[2];
    bool ready, stopping, core_latched;
    int64_t stop_by, start_by;
    int result;
};

static void log_child(enum log_level level, const struct child *c, const char *what)
{
    log_line(level, "child", "name=%s index=%u pid=%d text=\"%s\"", child_name(c->role), c->index, (int)c->pid, what);
}

static const char *program_of(enum child_role role)
{
    static const char *const names[] = {[CHILD_CORE] = "kmsd-core",        [CHILD_FRONT_CI] = "kmsd-front",   [CHILD_FRONT_ADMIN] = "kmsd-front",
                                        [CHILD_LANE_ADMIN] = "kmsd-token", [CHILD_LANE_SIGN] = "kmsd-token", [CHILD_FRONT_HEALTH] = "kmsd-front"};

    return names[role];
}

static pid_t spawn(struct supervisor *s, struct child *c, int socket_fd, struct err *e)
{
    char path[PATH_MAX];
    BUF_AUTO parent = BUF_INIT(32), index = BUF_INIT(32);
    const char *argv[12] = {path, "--settings", s->settings.file, "--parent"};
    int n = 5, listen_fd = -1;

    buf_printf(&parent, "%d", (int)getpid());
    buf_printf(&index, "%u", c->index);
    argv[4] = buf_str(&parent);
    if (c->role == CHILD_FRONT_CI || c->role == CHILD_FRONT_ADMIN) {
        argv[n++] = "--door";
        argv[n++] = c->role == CHILD_FRONT_CI ? "ci" : "admin";
        listen_fd = s->listen[c->role == CHILD_FRONT_ADMIN];
    } else if (c->role != CHILD_CORE) {
        argv[n++] = "--lane";
        argv[n++] = c->role == CHILD_LANE_ADMIN ? "admin" : "sign";
        argv[n++] = "--index";
        argv[n++] = buf_str(&index);
    }
    if (program_path(program_of(c->role), true, path, sizeof path, e))
        return -1;
    return child_spawn(argv, socket_fd, listen_fd, e);
}

static void put_child(struct buf *b, enum frame_type type, const struct child *c, pid_t pid, const char *reason)
{
    size_t mark = frame_begin(b, type, 0);

    frame_put_u64(b, TAG_ROLE, c->role);
    frame_put_u64(b, TAG_INDEX, c->index);
    frame_put_u64(b, TAG_PID, (uint64_t)pid);
    if (reason)
        frame_put_str(b, TAG_REASON, reason);
    frame_end(b, mark);
}

/* The core's end goes to the core, the other becomes the child's descriptor 3. */
static int start_child(struct supervisor *s, struct child *c, struct err *e)
{
    BUF_AUTO frame = BUF_INIT(1024);
    int pair[2], failed;

    c->retry_at = 0;
    c->started = clock_boot_us();
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
        return err_errno(e, ERR_INTERNAL, errno, "a socket pair");
    c->pid = spawn(s, c, pair[1], e);
    close(pair[1]);
    if (c->pid < 0) {
        c->pid = 0;
        close(pair[0]);
        return -1;
    }
    put_child(&frame, FRAME_CHILD, c, c->pid, NULL);
    failed = stream_send_fd(&s->control, &frame, pair[0]);
    close(pair[0]);
    return failed ? err_set(e, ERR_INTERNAL, "the core does not take a child") : 0;
}

static int start_core(struct supervisor *s, struct err *e)
{
    int pair[2], failed = 0;

    s->core.retry_at = 0;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
        return err_errno(e, ERR_INTERNAL, errno, "a socket pair");
    s->core.pid = spawn(s, &s->core, pair[1], e);
    close(pair[1]);
    s->core.started = clock_boot_us();
    if (s->core.pid < 0) {
        s->core.pid = 0;
        close(pair[0]);
        return -1;
    }
    stream_init(&s->control, pair[0]);
    for (unsigned n = 0; n < s->n_children; n++) {
        struct child *c = &s->child[n];

        if (c->latched || !start_child(s, c, e))
            continue;
        failed = -1;
        c->retry_at = c->pid ? 0 : c->started + BACKOFF_FIRST_US;
    }
    return failed;
}

static void add_child(struct supervisor *s, enum child_role role, unsigned index)
{
    s->child[s->n_children++] = (struct child){.role = role, .index = index};
}

static void end(struct supervisor *s, int result)
{
    if (!s->stopping)
        s->stop_by = clock_boot_us() + STOP_US;
    s->stopping = true;
    s->result = result ? result : s->result;
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

static void kill_children(struct supervisor *s)
{
    for (unsigned n = 0; n < s->n_children; n++)
        if (s->child[n].pid > 0)
            kill(s->child[n].pid, SIGKILL);
}

static void describe_end(int status, char *out, size_t size)
{
    BUF_AUTO b = BUF_INIT(size - 1);

    if (WIFSIGNALED(status))
        buf_printf(&b, "signal %d", WTERMSIG(status));
    else
        buf_printf(&b, "exit %d", WEXITSTATUS(status));
    memcpy(out, buf_str(&b), b.len + 1);
}

static void on_core_end(struct supervisor *s, int status)
{
    char how[32];

    describe_end(status, how, sizeof how);
    log_child(s->stopping ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR, &s->core, how);
    s->core.pid = 0;
    stream_close(&s->control);
    kill_children(s);
    if (s->stopping)
        return;
    if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_REFUSES) {
        log_line(LOG_LEVEL_ERROR, "stop", "text=\"the core refuses to start; its message above says why\"");
        end(s, 1);
        return;
    }
    s->core.retry_at = clock_boot_us() + backoff_next(&s->core.backoff, s->core.started, clock_boot_us());
}

static void on_child_end(struct supervisor *s, struct child *c, int status)
{
    BUF_AUTO frame = BUF_INIT(1024);
    char how[32];
    pid_t pid = c->pid;

    describe_end(status, how, sizeof how);
    if (!s->stopping)
        log_child(LOG_LEVEL_WARNING, c, how);
    c->pid = 0;
    if (s->core.pid && !s->stopping) {
        put_child(&s->control.out, FRAME_CHILD_GONE, c, pid, how);
        (void)!stream_flush(&s->control);
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_PIN_REFUSED) {
        c->latched = true;
        log_child(LOG_LEVEL_ERROR, c, "the token refused its PIN; it is not tried again. Correct the PIN file, then start kmsd again");
        if (!s->ready) {
            kill_children(s); /* at once: another lane may be about to try the same PIN */
            end(s, 1);
        }
        return;
    }
    if (!s->core.pid)
        return; /* killed because the core ended: it starts again with the core, and its own pauses do not grow */
    if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_REFUSES && !s->ready) {
        log_child(LOG_LEVEL_ERROR, c, "it refuses these settings; its message above says why");
        end(s, 1);
        return;
    }
    c->retry_at = clock_boot_us() + backoff_next(&c->backoff, c->started, clock_boot_us());
}

static void reap(struct supervisor *s)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid == s->core.pid) {
            on_core_end(s, status);
            continue;
        }
        for (unsigned n = 0; n < s->n_children; n++)
            if (s->child[n].pid == pid)
                on_child_end(s, &s->child[n], status);
    }
}

static void on_signal(struct supervisor *s)
{
    struct signalfd_siginfo info;

    while (read(s->signals, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGCHLD)
            reap(s);
        else if (info.ssi_signo != SIGHUP && !s->stopping)
            ask_stop(s);
    }
}

/* systemd's readiness protocol: one datagram (sd_notify(3)). */
static void notify(const char *text)
{
    const char *path = getenv("NOTIFY_SOCKET");
    union {
        struct sockaddr any;
        struct sockaddr_un un;
    } a = {.un.sun_family = AF_UNIX};
    size_t n = path ? strlen(path) : 0;
    int fd;

    if (!n || n >= sizeof a.un.sun_path || (path[0] != '/' && path[0] != '@'))
        return;
    memcpy(a.un.sun_path, path, n);
    if (path[0] == '@')
        a.un.sun_path[0] = '\0';
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    (void)sendto(fd, text, strlen(text), MSG_NOSIGNAL, &a.any, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n));
    close(fd);
}

static void kill_named(struct supervisor *s, const struct frame *f)
{
    for (unsigned n = 0; n < s->n_children; n++) {
        struct child *c = &s->child[n];

        if (c->role == (enum child_role)frame_u64(f, TAG_ROLE) && c->index == frame_u64(f, TAG_INDEX) && c->pid > 0 &&
            (uint64_t)c->pid == frame_u64(f, TAG_PID)) {
            log_child(LOG_LEVEL_WARNING, c, "the core asked for its end");
            kill(c->pid, SIGKILL);
        }
    }
}

static void on_control(struct supervisor *s)
{
    struct frame f;
    struct err e = {0};
    int got = stream_fill(&s->control);

    while (stream_next(&s->control, &f, &e) > 0) {
        if (f.type == FRAME_READY && !s->ready) {
            s->ready = true;
            log_line(LOG_LEVEL_INFO, "ready", "ci=%s admin=%s", s->settings.listen_ci, s->settings.listen_admin);
            notify("READY=1\n");
        } else if (f.type == FRAME_KILL) {
            kill_named(s, &f);
        }
    }
    if (got < 0 && s->core.pid)
        kill(s->core.pid, SIGKILL);
}

static bool none_left(const struct supervisor *s)
{
    for (unsigned n = 0; n < s->n_children; n++)
        if (s->child[n].pid)
            return false;
    return !s->core.pid;
}

/* What could not even be started (no process, no descriptor) is tried again like what died. */
static void start_failed(struct child *c, int64_t now, const struct err *e)
{
    log_line(LOG_LEVEL_ERROR, "start", "text=\"%s\"", e->detail);
    if (!c->pid)
        c->retry_at = now + backoff_next(&c->backoff, now, now);
}

static void start_due(struct supervisor *s, int64_t now)
{
    struct err e = {0};

    if (!s->core.pid) {
        /* The whole set starts anew, once the old children are gone. */
        if (none_left(s) && s->core.retry_at && now >= s->core.retry_at && start_core(s, &e))
            start_failed(&s->core, now, &e);
        return;
    }
    for (unsigned n = 0; n < s->n_children; n++)
        if (s->child[n].retry_at && now >= s->child[n].retry_at && !s->child[n].latched && start_child(s, &s->child[n], &e))
            start_failed(&s->child[n], now, &e);
}

static void check_times(struct supervisor *s, int64_t now)
{
    if (s->stopping) {
        if (now > s->stop_by && s->core.pid)
            kill(s->core.pid, SIGKILL);
        if (!s->core.pid)
            kill_children(s);
        return;
    }
    if (!s->ready && now > s->start_by) {
        log_line(LOG_LEVEL_ERROR, "start", "text=\"not ready after %d seconds\"", START_US / 1000000);
        end(s, 1);
        if (s->core.pid)
            kill(s->core.pid, SIGKILL);
        return;
    }
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
    return s->result;
}

static int set_up(struct supervisor *s, struct err *e)
{
    char lock[PATH_MAX];
    sigset_t set;

    if (path_join(lock, sizeof lock, s->settings.dir, "lock") || lock_file(lock, LOCK_WAIT_MS, e) < 0)
        return e->code ? -1 : err_set(e, ERR_BAD_REQUEST, "the path of the directory is too long");
    s->listen[0] = listen_on(s->settings.listen_ci, e);
    s->listen[1] = s->listen[0] < 0 ? -1 : listen_on(s->settings.listen_admin, e);
    if (s->listen[1] < 0)
        return -1;
    sigemptyset(&set);
    for (size_t n = 0; n < 4; n++)
        sigaddset(&set, (const int[]){SIGCHLD, SIGTERM, SIGINT, SIGHUP}[n]);
    if (sigprocmask(SIG_BLOCK, &set, NULL) || (s->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)) < 0)
        return err_errno(e, ERR_INTERNAL, errno, "signals");
    (void)sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
    add_child(s, CHILD_FRONT_CI, 0);
    add_child(s, CHILD_FRONT_ADMIN, 0);
    add_child(s, CHILD_LANE_ADMIN, 0);
    add_child(s, CHILD_LANE_SIGN, 0);
    s->start_by = clock_boot_us() + START_US;
    return start_core(s, e);
}

static const char USAGE[] = "usage: kmsd run --settings FILE\n\nRuns the instance in the foreground until SIGTERM or SIGINT; readiness by sd_notify(3).\n";

int command_run(int argc, char **argv)
{
    static const struct option options[] = {
        {"settings", required_argument, NULL, 's'}, {"allow-dev", no_argument, NULL, 'd'}, {"help", no_argument, NULL, 'h'}, {0}};
    struct supervisor s = {.core = {.role = CHILD_CORE}, .listen = {-1, -1}};
    const char *file = NULL;
    bool allow_dev = false;
    struct err e = {0};
    int opt;

    while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (opt == 's')
            file = optarg;
        else if (opt == 'd')
            allow_dev = true;
        else
            return fputs(USAGE, opt == 'h' ? stdout : stderr), opt == 'h' ? 0 : 2;
    }
    if (!file || optind != argc)
        return fputs(USAGE, stderr), 2;
    if (settings_load(file, &s.settings, &e) || instance_check_mode(&s.settings, allow_dev, &e) || set_up(&s, &e)) {
        fprintf(stderr, "kmsd run: %s\n", e.detail);
        kill_children(&s);
        return 1;
    }
    return loop(&s);
}
