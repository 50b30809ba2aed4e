/* What follows when a process of the instance ends. */
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fsutil.h"
#include "base/log.h"
#include "kmsd/supervisor/supervisor.h"

void log_child(enum log_level level, const struct child *c, const char *what)
{
    log_line(level, "child", "name=%s index=%u pid=%d text=\"%s\"", child_name(c->role), c->index, (int)c->pid, what);
}

void end(struct supervisor *s, int result)
{
    if (!s->stopping)
        s->stop_by = clock_boot_us() + STOP_US;
    s->stopping = true;
    s->result = s->result ? s->result : result; /* the first reason is the reason */
}

void kill_children(const struct supervisor *s)
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

#define CORE_END_US INT64_C(100000)

static int exit_code(int status)
{
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void on_core_end(struct supervisor *s, int status)
{
    char how[32];

    describe_end(status, how, sizeof how);
    log_child(s->stopping ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR, &s->core, how);
    s->core.pid = 0;
    stream_close(&s->control);
    s->kill_at = clock_boot_us() + ORPHAN_US; /* they end by themselves: a lane is best not killed in the middle of a login */
    s->lacks[0] = '\0';
    if (s->stopping) {
        end(s, status ? 1 : 0); /* it did not come to its end by itself */
        return;
    }
    if (exit_code(status) == EXIT_REFUSES) {
        log_line(LOG_LEVEL_ERROR, "stop", "text=\"the core refuses to start; its message above says why\"");
        end(s, EXIT_REFUSES);
        return;
    }
    s->start_by = clock_boot_us() + START_US;
    s->core.retry_at = clock_boot_us() + backoff_next(&s->core.backoff, s->core.started, clock_boot_us());
}

/* The lane has left the latch behind already; where it could not, this process remembers. */
static void latch(struct supervisor *s, struct child *c)
{
    static const char text[] = "the token refused its PIN\n";
    struct err e = {0};

    c->latched = true;
    s->latch_on_disk = file_exists(s->latch) || !file_write_atomic(s->latch, text, sizeof text - 1, 0600, &e);
    log_child(LOG_LEVEL_ERROR, c, "the token refused its PIN; it is not tried again. Correct the PIN, then run kmsd unseal");
}

void latch_watch(struct supervisor *s)
{
    if (!s->latch_on_disk || file_exists(s->latch))
        return;
    s->latch_on_disk = false;
    log_line(LOG_LEVEL_INFO, "unsealed", "text=\"the token's PIN is tried once again\"");
    for (unsigned n = 0; n < s->n_children; n++)
        if (s->child[n].latched) {
            s->child[n].latched = false;
            s->child[n].retry_at = clock_boot_us();
        }
}

/* A lane that had shown that it works goes on at once; a token that fails again and again is asked every second. */
static int64_t pause_of(struct child *c, int status, int64_t now)
{
    int64_t pause = backoff_next(&c->backoff, c->started, now);

    if (!exit_code(status) && pause < CORE_END_US)
        return CORE_END_US; /* its socket was closed: most likely the core ends, and then all start anew together */
    return exit_code(status) == LANE_EXIT_TOKEN && pause > TOKEN_PAUSE_MAX_US ? TOKEN_PAUSE_MAX_US : pause;
}

static void on_child_end(struct supervisor *s, struct child *c, int status)
{
    int64_t now = clock_boot_us();
    char how[32];
    pid_t pid = c->pid;

    bool renewed = c->renew_by && exit_code(status) == 0;

    describe_end(status, how, sizeof how);
    if (!s->stopping)
        log_child(renewed ? LOG_LEVEL_INFO : LOG_LEVEL_WARNING, c, how);
    c->pid = 0;
    c->renew_by = 0;
    if (s->core.pid && !s->stopping) {
        child_frame(&s->control.out, FRAME_CHILD_GONE, c, pid, exit_code(status) == LANE_EXIT_SEALED ? REASON_SEALED : renewed ? REASON_RENEWED : how);
        (void)!stream_flush(&s->control);
    }
    if (exit_code(status) == LANE_EXIT_SEALED)
        latch(s, c);
    else if (!s->core.pid)
        return; /* killed because the core ended: it starts again with the core, and its own pauses do not grow */
    else if (exit_code(status) == EXIT_REFUSES && !s->ready) {
        log_child(LOG_LEVEL_ERROR, c, "it refuses these settings; its message above says why");
        end(s, EXIT_REFUSES);
    } else
        c->retry_at = renewed ? now : now + pause_of(c, status, now);
}

void reap(struct supervisor *s)
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

bool none_left(const struct supervisor *s)
{
    for (unsigned n = 0; n < s->n_children; n++)
        if (s->child[n].pid)
            return false;
    return !s->core.pid;
}

