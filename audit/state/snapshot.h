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

/* A snapshot under way. */
struct snapshot_writer {
    struct buf *out;
    const struct stored *next;  /* the answer that is written next, of so many */
    uint64_t left, lines;
    bool failed, ended;
};
/* Appends everything but the stored answers, which are most of a large state. The state may change then while they follow, as long as state->writer says who
 * writes: an answer that leaves the state is written before it goes, and those that come are behind the last one. out's max bounds it. */
void snapshot_begin(const struct state *s, struct snapshot_writer *w, struct buf *out);
/* Appends about so many bytes of the rest, a line at least. 1 = there is more, 0 = that was all, -1 = it cannot be written (e filled). */
int snapshot_more(struct snapshot_writer *w, size_t bytes, struct err *e) __attribute__((warn_unused_result));
/* st leaves the state. */
void snapshot_leaves(struct snapshot_writer *w, const struct stored *st);
/* All of it at once: appends the state as lines of canonical JSON: the same state gives the same bytes. ERR_TOO_LARGE when it does not fit out. */
int snapshot_write(const struct state *s, struct buf *out, struct err *e) __attribute__((warn_unused_result));
/* The state that such a text describes; caller owns. NULL unless the text is exactly what snapshot_write makes of that state. The policy's text comes from blobs. */
struct state *snapshot_read(struct span text, const struct blob_source *blobs, struct err *e) __attribute__((warn_unused_result));

#endif
