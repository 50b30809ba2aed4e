/* Blocks SIGPIPE in the calling thread for the length of a call: it is sent to the thread that writes. */
#include "client/sigpipe.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <time.h>

static void only_sigpipe(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGPIPE);
}

void sigpipe_hold(struct sigpipe *s)
{
    sigset_t pending, set, before;

    s->held = false;
    sigemptyset(&pending);
    if (sigpending(&pending) || sigismember(&pending, SIGPIPE) == 1)
        return;
    only_sigpipe(&set);
    s->held = pthread_sigmask(SIG_BLOCK, &set, &before) == 0 && sigismember(&before, SIGPIPE) != 1;
}

void sigpipe_release(const struct sigpipe *s)
{
    const struct timespec now = {0};
    sigset_t set;

    if (!s->held)
        return;
    only_sigpipe(&set);
    while (sigtimedwait(&set, NULL, &now) < 0 && errno == EINTR)
        ;
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}
