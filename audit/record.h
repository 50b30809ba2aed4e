/* Building records: the members that every record has, and the line that is hashed and stored (docs/log-format.md). */
#ifndef KMS_AUDIT_RECORD_H
#define KMS_AUDIT_RECORD_H

#include "base/hash.h"
#include "base/json.h"

#define RECORD_LINE_MAX 65535
#define RECORD_BOOT_HEX 33
#define BODY_INLINE_MAX 4096 /* a signed body up to this size stands in the record, a longer one is a blob */

struct actor {
    const char *name, *kind, *cred, *method;
};
extern const struct actor actor_system;

/* Where the chain stands: the record that comes next has this seq and prev. */
struct chain {
    uint64_t next_seq;
    char prev[SHA256_HEX];
    int64_t time; /* of the last record */
};
void chain_start(struct chain *c);

/* A record without seq, prev, time, boot: caller owns. NULL when memory is out. */
json_t *record_new(const char *event, const char *outcome, const struct actor *actor, const char *req);
/* Sets a text member, unless value is NULL or "". */
void record_text(json_t *record, const char *member, const char *value);
json_t *record_key(const char *name, uint64_t version);
json_t *record_artifact(const char *app, const char *channel, const char *version);
json_t *record_head(uint64_t seq, const char *hash);
/* Completes the record with seq, prev, time and boot, appends its line and LF to out, and moves the chain on. ERR_INTERNAL when the line is too long. */
int record_seal(json_t *record, struct chain *c, int64_t now_us, const char *boot, struct buf *out, struct err *e) __attribute__((warn_unused_result));

/* Reading members of a trusted (chained) record; "" or 0 when absent. */
const char *rec_str(const json_t *record, const char *member);
uint64_t rec_int(const json_t *record, const char *member);
/* Its number in the log; -1 = it has none. */
int rec_seq(const json_t *record, uint64_t *out) __attribute__((warn_unused_result));
const json_t *rec_obj(const json_t *record, const char *member);

#endif
