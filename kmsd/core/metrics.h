/* What the core counts of itself: plain numbers, from the start of this process on. */
#ifndef KMS_CORE_METRICS_H
#define KMS_CORE_METRICS_H

#include "base/err.h"
#include "base/prom.h"

#define METRIC_ROUTES 96   /* of the table, and one more for requests that fit none */
#define METRIC_STATUSES 20
#define METRIC_TLS 12
#define METRIC_ROLES 8

struct metrics {
    uint64_t requests[2][METRIC_ROUTES][METRIC_STATUSES]; /* by door */
    uint64_t refusals[ERR_COUNT], tls[METRIC_TLS], allowed, denied, signatures, groups, records, bytes, child_ends[METRIC_ROLES];
    struct prom_times queue, lane, commit, sign, sync, door[2];
    int64_t handed;            /* when the group under way went to the disk */
    int64_t snapshot_time;     /* of the newest snapshot, 0 = there is none */
};

#endif
