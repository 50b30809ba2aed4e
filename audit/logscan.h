/* Looking into a log without reading it: its newest records of one event, the place of a record, and whether the segments still join. */
#ifndef KMS_AUDIT_LOGSCAN_H
#define KMS_AUDIT_LOGSCAN_H

#include "audit/logdir.h"

/* From the end of the log backwards: each canonical line of that event, parsed; each() returns false to stop. Nothing says yet that it is in the chain. */
int logscan_back(const char *dir, const char *event, bool (*each)(void *ctx, const json_t *record), void *ctx, struct err *e) __attribute__((warn_unused_result));
/* The place behind record seq - 1, with its hash; seq > 0. */
int logscan_seek(const char *dir, uint64_t seq, struct log_place *out, struct err *e) __attribute__((warn_unused_result));
/* Record seq's line, without LF, appended to out. */
int logscan_line(const char *dir, uint64_t seq, struct buf *out, struct err *e) __attribute__((warn_unused_result));
/* The segments up to that of the place begin with record 0 and join: the last record of each is the one that the next begins behind. */
int logscan_join(const char *dir, const struct log_place *upto, struct err *e) __attribute__((warn_unused_result));

#endif
