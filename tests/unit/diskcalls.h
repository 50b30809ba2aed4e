/* What the tests of the disk thread make of its system calls. */
#ifndef KMS_TESTS_DISKCALLS_H
#define KMS_TESTS_DISKCALLS_H

#include <semaphore.h>
#include <stdatomic.h>

#define CALLS_BLOCK 4096
#define CALLS_TRACE 128

/* PATIENT: no timeout makes good for a wake-up that was lost. HASTY: there is a look for room between all groups. Both without syncs. */
enum waits { AS_ASKED, PATIENT, HASTY };

struct calls {
    atomic_int write_errno, sync_errno; /* of the log alone; 0 = as it comes */
    atomic_int space_errno, reserve_errno, thread_errno;
    atomic_bool half;                   /* the next write to the log takes half of it */
    atomic_bool held;                   /* a sync of the log posts reached and waits for gate */
    sem_t reached, gate;
    atomic_ulong blocks;                /* free ones */
    atomic_bool creeping;               /* more of them with every look */
    atomic_int waits;
};
extern struct calls calls;

/* What was done since the last time: a blob written (b), synced (s), named (r), its name synced (d); lines written (L), synced (S);
 * the core told (!). */
void calls_trace(char out[static CALLS_TRACE]);

#endif
