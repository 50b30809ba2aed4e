/* State snapshots: the whole fold as text, so that a start need not fold the log from its first record (docs/log-format.md). */
#ifndef KMS_AUDIT_STATE_SNAPSHOT_H
#define KMS_AUDIT_STATE_SNAPSHOT_H

#include "audit/state/state.h"

#define SNAPSHOT_FORMAT 2
#define SNAPSHOT_BYTES_MAX (1u << 30)
#define SNAPSHOT_NAME 27 /* 20 digits ".jsonl" NUL */

/* What a log.snapshot record says. */
struct snapshot_ref {
    uint64_t seq;              /* number of records that it covers */
    uint64_t bytes;
    uint64_t named_by;         /* seq of the record */
    char sha256[SHA256_HEX];
    char file[SNAPSHOT_NAME];
};

void snapshot_name(uint64_t seq, char out[static SNAPSHOT_NAME]);
/* Detail of a log.snapshot record; caller owns. */
json_t *snapshot_detail(const struct snapshot_ref *ref);
/* Is this a log.snapshot record? Its detail must then fit its form. */
int snapshot_ref_of(const json_t *record, struct snapshot_ref *out, struct err *e) __attribute__((warn_unused_result));

/* Appends the state as lines of canonical JSON: the same state gives the same bytes. ERR_TOO_LARGE when it does not fit out. */
int snapshot_write(const struct state *s, struct buf *out, struct err *e) __attribute__((warn_unused_result));
/* The state that such a text describes; caller owns. NULL unless the text is exactly what snapshot_write makes of that state. The policy's text comes from blobs. */
struct state *snapshot_read(struct span text, const struct blob_source *blobs, struct err *e) __attribute__((warn_unused_result));

#endif
