/* The record of a signature, written as its line straight away: by far the most frequent one. */
#ifndef KMS_AUDIT_SIGNING_H
#define KMS_AUDIT_SIGNING_H

#include <stdbool.h>

#include "audit/record.h"

/* What it says; NULL or "" where a text is optional and absent (docs/log-format.md). */
struct signing {
    struct actor actor;
    const char *req, *src, *idem, *body_sha256, *rule, *policy;
    const char *app, *channel, *version, *name, *alg, *digest, *source_claimed;
    int64_t size;             /* < 0 = not given */
    const char *key, *scheme, *signature;
    uint64_t key_version;
    bool statement;           /* a statement is signed, not a bare digest; then, as it says: */
    const char *environment, *issued, *head_hash;
    uint64_t head_seq;
};
/* Appends its line without LF, as the record that comes next. Moves no chain; fails the buffer on what is not UTF-8. */
void signing_put(const struct signing *s, const struct chain *c, int64_t now_us, const char *boot, struct buf *out);

/* Appends the payload of the statement that is to be signed, before there is a record: what statement_payload will make of that. */
void signing_statement(const struct signing *s, const char *instance, struct buf *out);

#endif
