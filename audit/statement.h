/* The release statement (in-toto Statement v1 in DSSE) as a function of its record. */
#ifndef KMS_AUDIT_STATEMENT_H
#define KMS_AUDIT_STATEMENT_H

#include "audit/recordline.h"

#define STATEMENT_TYPE "application/vnd.in-toto+json"
#define STATEMENT_PREDICATE "https://kmsd.dev/release/v1"
/* Its text up to the predicate, and between that and the digest. */
#define STATEMENT_HEAD "{\"_type\":\"https://in-toto.io/Statement/v1\",\"predicate\":"
#define STATEMENT_SUBJECT ",\"predicateType\":\"" STATEMENT_PREDICATE "\",\"subject\":[{\"digest\":{\"sha256\":"

/* Payload of a sign.release record, which need not have its signature yet: canonical JSON, appended. */
int statement_payload(const struct record_line *record, const char *instance, struct buf *out, struct err *e) __attribute__((warn_unused_result));
/* DSSE pre-authentication encoding of that payload, appended. */
void statement_pae(struct span payload, struct buf *out);

#endif
