/* Starts child processes with exactly the descriptors they need. */
#include "kmsd/supervisor/children.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "kmsd/supervisor/rank.h"

const char *child_name(enum child_role role)
{
    static const char *const names[] = {"core", "front-ci", "front-admin", "lane-admin", "lane-sign", "front-health", "reader"};

    return names[role];
}

int64_t backoff_next(int64_t *backoff, int64_t started, int64_t died)
{
    int64_t pause = *backoff;

    if (died - started >= BACKOFF_LIVED_US)
        pause = 0;
    *backoff = pause ? (2 * pause < BACKOFF_MAX_US ? 2 * pause : BACKOFF_MAX_US) : BACKOFF_FIRST_US;
    return pause;
}

/* Moves the two descriptors above the ones they shall become, so that neither overwrites the other. */
static int place(int socket_fd, int listen_fd)
{
    int high = fcntl(socket_fd, F_DUPFD, 16), listen_high = listen_fd >= 0 ? fcntl(listen_fd, F_DUPFD, 16) : -1;

    if (high < 0 || dup2(high, 3) < 0 || (listen_fd >= 0 && (listen_high < 0 || dup2(listen_high, 4) < 0)))
        return -1;
    return close_range(listen_fd >= 0 ? 5 : 4, ~0U, 0);
}

pid_t child_spawn(const struct child *c, const char *const argv[], int socket_fd, int listen_fd, struct err *e)
{
    sigset_t none;
    pid_t pid = fork();

    if (pid < 0)
        return err_errno(e, ERR_INTERNAL, errno, "starting %s", argv[0]);
    if (pid > 0)
        return pid;
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    rank_take(c->role);
    if (!place(socket_fd, listen_fd) && !account_become(&c->account))
        execv(argv[0], (char *const *)(uintptr_t)argv);
    _exit(127);
}

void child_frame(struct buf *b, enum frame_type type, const struct child *c, pid_t pid, const char *reason)
{
    size_t mark = frame_begin(b, type, 0);

    frame_put_u64(b, TAG_ROLE, c->role);
    frame_put_u64(b, TAG_INDEX, c->index);
    frame_put_u64(b, TAG_PID, (uint64_t)pid);
    if (reason)
        frame_put_str(b, TAG_REASON, reason);
    frame_end(b, mark);
}
