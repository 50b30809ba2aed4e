/* Heads: `seq:hash` of a record, kept somewhere else than beside the log. */
#ifndef KMS_VERIFY_HEAD_H
#define KMS_VERIFY_HEAD_H

#include "audit/verify/chain.h"

#define HEADS_MAX 256

struct head {
    uint64_t seq;
    uint8_t hash[SHA256_LEN];
};
/* "SEQ:HASH". */
int head_parse(const char *text, struct head *out) __attribute__((warn_unused_result));
/* Each head against the chain; then a note about the records that none of them covers. */
void heads_check(const struct chain *c, const struct head *list, size_t n, struct report *r);

#endif
