/* The anchor: a small note, kept away from the log, of a record that the log must still hold. It shows a log that was put back or shortened. */
#ifndef KMS_AUDIT_ANCHOR_H
#define KMS_AUDIT_ANCHOR_H

#include "base/err.h"
#include "base/hash.h"

#define ANCHOR_LEN 112               /* one slot */
#define ANCHOR_VERSION 1
#define ANCHOR_COUNTER_MAX UINT64_C(9007199254740991) /* also stands in records: 2^53-1 */

/* One slot, big-endian: magic "KMSDANCH" | u32 version | u32 zero | instance 16 bytes | u64 counter | u64 seq | record hash 32 bytes | SHA-256 of all that. */
struct anchor {
    char instance[33];               /* hex, as in log.genesis */
    uint64_t counter;                /* grows with every writing, wherever the copy lies */
    uint64_t seq;
    char hash[SHA256_HEX];           /* of record seq */
};

/* Appends the slot; fails the buffer when the texts are not hex of their length or a number is over its maximum. */
void anchor_encode(struct buf *out, const struct anchor *a);
/* Exactly one valid slot. Says nothing of why it is none: a slot that was never written looks like a damaged one. */
int anchor_decode(struct span slot, struct anchor *out) __attribute__((warn_unused_result));
/* The next counter: it grows, and is never behind the time of its writing, so that copies in different places can be compared. */
uint64_t anchor_next_counter(uint64_t last, int64_t now_us);

/* What an anchor says about a log. head: seq of its last record (n_records of them, n_records > 0); hash: that of record a->seq, NULL when the log does not reach it. */
enum anchor_verdict {
    ANCHOR_HOLDS,
    ANCHOR_AHEAD,                    /* the log ends before the anchor's record: put back or shortened */
    ANCHOR_REPLACED,                 /* another record stands there: replaced or forked */
    ANCHOR_FOREIGN                   /* the anchor belongs to another instance */
};
enum anchor_verdict anchor_judge(const struct anchor *a, const char *instance, uint64_t n_records, const char *hash);
const char *anchor_verdict_word(enum anchor_verdict v); /* as in anchor.reset: "sound", "ahead", "replaced", "foreign" */
/* The sentence an operator reads; where: "the anchor /path" or "the token's anchor". Returns -1 with ERR_LOG_UNAVAILABLE. */
int anchor_refuse(const struct anchor *a, enum anchor_verdict v, const char *where, uint64_t n_records, struct err *e);
/* What to do about it, for the end of such sentences. */
#define ANCHOR_CURE "Put the newest log back; if it is lost for good, `kmsd anchor --accept` goes on with this one and records it"

#endif
