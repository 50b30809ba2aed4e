/* The lowest priority is not enough to be out of the way. Where the kernel shares the processors out by session, one whose processes have just run much is
 * made to wait for one that has hardly run at all, for as much as a turn of 3 ms: the thread that syncs the log was. Who runs for a moment only is in nobody's way
 * for longer. */
#include "kmsd/reader/breath.h"

#include <stdint.h>
#include <time.h>

#include "base/fsutil.h"

#define TURN_US 100
#define PAUSE_NS 50000 /* and as much again until the kernel wakes it */

static struct {
    bool needed;
    int64_t since;
} breath;

void breath_needed(bool needed)
{
    breath.needed = needed;
}

void breath_take(void)
{
    const struct timespec pause = {0, PAUSE_NS};

    if (!breath.needed || clock_boot_us() - breath.since < TURN_US)
        return;
    (void)nanosleep(&pause, NULL);
    breath.since = clock_boot_us();
}
