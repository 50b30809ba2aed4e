/* Reading the log at start: from the newest usable state snapshot, or from its first record. */
#ifndef KMS_CORE_START_H
#define KMS_CORE_START_H

#include "audit/logdir.h"
#include "audit/state/state.h"
#include "kmsd/settings.h"

/* What the log must still hold is the anchor. The state as of the last record, and the log open for appending; recovered as by logdir_open; snapshot = how many records came from one, 0 = none. The caller owns all three, and holds the log's lock. */
int start_read(const struct settings *settings, const struct anchor *anchor, struct state **state, struct logdir *log, json_t **recovered, uint64_t *snapshot,
               struct err *e)
    __attribute__((warn_unused_result));

/* For metrics: the length of the log, and when the snapshot that covers that many records was written (0 = that is not known). */
void start_measure(const struct settings *settings, uint64_t snapshot, uint64_t *log_bytes, int64_t *snapshot_us);

#endif
