/* The gentle end of a door that another process takes over: nobody new is let in, whoever was is served, then the process ends. Those who come
 * meanwhile wait at the listening socket, which stays open elsewhere. */
#include <signal.h>

#include "kmsd/front/front.h"

#define DRAIN_US INT64_C(10000000)  /* answers that nobody reads do not hold it up for longer */

static volatile sig_atomic_t asked;
static int64_t end_by;

static void on_hangup(int number)
{
    (void)number;
    asked = 1;
}

void drain_watch(void)
{
    (void)sigaction(SIGHUP, &(struct sigaction){.sa_handler = on_hangup}, NULL);
}

bool drain_asked(void)
{
    return asked != 0;
}

bool drain_done(int64_t now)
{
    if (!asked)
        return false;
    if (!end_by) {
        end_by = now + DRAIN_US;
        (void)MHD_quiesce_daemon(front.daemon);
    }
    conn_drain(now);
    return now > end_by || (!front.n_conns && !front.in_flight && !front.core.out.len);
}
