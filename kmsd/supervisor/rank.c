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
    [CHILD_CORE] = 0, [CHILD_FRONT_CI] = 0, [CHILD_FRONT_HEALTH] = 0, [CHILD_READER] = NICEST,
    [CHILD_LANE_SIGN] = 10, [CHILD_FRONT_ADMIN] = 10, /* pages of a hundred records: before a lane, they are what a signature waits for */
    [CHILD_LANE_ADMIN] = 15, /* which makes an RSA key for seconds */
};

/* Where every processor gets a lane, each lane stays on its own: left to itself the kernel lets two wait for one processor while the other stands idle. Of two
 * processors those who serve the lanes share the second one: the first lane is left alone with what is in its caches. Searches keep away from there. With more
 * processors, one might not be enough for those who serve; and where there are more than lanes there is a better place for whoever meets something else. */
int rank_processor(enum child_role role, unsigned index, unsigned lanes, unsigned processors)
{
    static const int of_two[] = {[CHILD_CORE] = 1, [CHILD_FRONT_CI] = 1, [CHILD_FRONT_ADMIN] = 0, [CHILD_READER] = 0,
                                 [CHILD_FRONT_HEALTH] = RANK_ANYWHERE, [CHILD_LANE_ADMIN] = RANK_ANYWHERE};

    if (processors < 2 || lanes < processors)
        return RANK_ANYWHERE;
    if (role == CHILD_LANE_SIGN)
        return (int)(index % processors);
    return processors == 2 ? of_two[role] : RANK_ANYWHERE;
}

/* Of the processors that may be used, the one with that number, counted from 0. */
static void bind_to(int processor, const cpu_set_t *may)
{
    cpu_set_t one;

    CPU_ZERO(&one);
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, may) && !processor--)
            CPU_SET(cpu, &one);
    (void)sched_setaffinity(0, sizeof one, &one);
}

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

void rank_take(enum child_role role, unsigned index, unsigned lanes)
{
    cpu_set_t may;
    int processor;

    if (!sched_getaffinity(0, sizeof may, &may) && (processor = rank_processor(role, index, lanes, (unsigned)CPU_COUNT(&may))) >= 0)
        bind_to(processor, &may);
    if (getpriority(PRIO_PROCESS, 0) < NICENESS[role])
        (void)setpriority(PRIO_PROCESS, 0, NICENESS[role]);
    if (role == CHILD_READER)
        last_of_all();
}
