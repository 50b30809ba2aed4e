/* Starts the core and the children around it. */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fsutil.h"
#include "base/log.h"
#include "kmsd/supervisor/instance.h"
#include "kmsd/supervisor/supervisor.h"

static const char *program_of(enum child_role role)
{
    static const char *const names[] = {[CHILD_CORE] = "kmsd-core",        [CHILD_FRONT_CI] = "kmsd-front",   [CHILD_FRONT_ADMIN] = "kmsd-front",
                                        [CHILD_LANE_ADMIN] = "kmsd-token", [CHILD_LANE_SIGN] = "kmsd-token", [CHILD_FRONT_HEALTH] = "kmsd-front",
                                        [CHILD_READER] = "kmsd-reader"};

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
    if (c->role == CHILD_FRONT_CI || c->role == CHILD_FRONT_ADMIN || c->role == CHILD_FRONT_HEALTH) {
        int door = c->role == CHILD_FRONT_CI ? 0 : c->role == CHILD_FRONT_ADMIN ? 1 : 2;

        argv[n++] = "--door";
        argv[n++] = (const char *const[]){"ci", "admin", "health"}[door];
        listen_fd = s->listen[door];
    } else if (c->role == CHILD_LANE_ADMIN || c->role == CHILD_LANE_SIGN) {
        argv[n++] = "--lane";
        argv[n++] = c->role == CHILD_LANE_ADMIN ? "admin" : "sign";
        argv[n++] = "--index";
        argv[n++] = buf_str(&index);
    }
    if (program_path(program_of(c->role), true, path, sizeof path, e))
        return -1;
    return child_spawn(c, argv, socket_fd, listen_fd, e);
}

/* The core's end goes to the core, the other becomes the child's descriptor 3. */
static int start_child(struct supervisor *s, struct child *c, struct err *e)
{
    BUF_AUTO frame = BUF_INIT(1024);
    int pair[2];

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
    child_frame(&frame, FRAME_CHILD, c, c->pid, NULL);
    /* A core that does not take it is ending: why, and whether to go on, its exit code tells. The child sees its socket closed and ends as well. */
    (void)!stream_send_fd(&s->control, &frame, pair[0]);
    close(pair[0]);
    return 0;
}

int start_core(struct supervisor *s, struct err *e)
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

/* What could not even be started (no process, no descriptor) is tried again like what died. */
static void start_failed(struct child *c, int64_t now, const struct err *e)
{
    log_line(LOG_LEVEL_ERROR, "start", "text=\"%s\"", e->detail);
    if (!c->pid)
        c->retry_at = now + backoff_next(&c->backoff, now, now);
}

void start_due(struct supervisor *s, int64_t now)
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

