/* What a child process gets of the processors. Signatures go before everything that nobody waits for, and who brings a lane its work goes before the lane,
 * or the other lanes stand idle. */
#include "kmsd/supervisor/rank.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NICEST 19
#define IOPRIO_IDLE (3 << 13) /* IOPRIO_CLASS_IDLE; linux/ioprio.h */
#define PATIENT_NS 100000000  /* whoever wakes up and wants less at a time than that goes at once */

static const int NICENESS[] = {
    [CHILD_CORE] = 0, [CHILD_FRONT_CI] = 0, [CHILD_FRONT_HEALTH] = 0, [CHILD_LANE_ADMIN] = 0, [CHILD_READER] = NICEST,
    [CHILD_LANE_SIGN] = 5, [CHILD_FRONT_ADMIN] = 5, /* pages of a hundred records: before a lane, they are what a signature waits for */
};

/* Processor and disk when nobody else wants them. SCHED_IDLE weighs only within a session where the kernel shares the processors out by session
 * (CONFIG_SCHED_AUTOGROUP): a session of its own, of the lowest weight and with long turns, gives way to clients on this machine too. */
static void last_of_all(void)
{
    const struct sched_param none = {0};
    const struct { /* of sched_setattr(2) */
        uint32_t size, policy;
        uint64_t flags;
        int32_t niceness;
        uint32_t priority;
        uint64_t runtime, deadline, period;
    } patient = {.size = sizeof patient, .policy = SCHED_OTHER, .niceness = NICEST, .runtime = PATIENT_NS};
    int fd;

    if (setsid() >= 0 && (fd = open("/proc/self/autogroup", O_WRONLY | O_CLOEXEC)) >= 0) {
        (void)!write(fd, "19", 2);
        close(fd);
    }
    (void)syscall(SYS_sched_setattr, 0, &patient, 0);
    (void)sched_setscheduler(0, SCHED_IDLE, &none);
    (void)syscall(SYS_ioprio_set, 1, 0, IOPRIO_IDLE); /* few disks care */
}

/* No process is bound to a processor: with lanes, core and door bound, busy processes of others took turns on a lane's and it did not run for seconds. */
void rank_take(enum child_role role)
{
    if (getpriority(PRIO_PROCESS, 0) < NICENESS[role])
        (void)setpriority(PRIO_PROCESS, 0, NICENESS[role]);
    if (role == CHILD_READER)
        last_of_all();
}
