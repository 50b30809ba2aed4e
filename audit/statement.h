/* The release statement (in-toto Statement v1 in DSSE) as a function of its record. */
#ifndef KMS_AUDIT_STATEMENT_H
#define KMS_AUDIT_STATEMENT_H

#include "base/json.h"

#define STATEMENT_TYPE "application/vnd.in-toto+json"
#define STATEMENT_PREDICATE "https://kmsd.dev/release/v1"

/* Payload of a sign.release record (complete but for signature and chain members are enough): canonical JSON, appended. */
int statement_payload(const json_t *record, const char *instance, struct buf *out, struct err *e) __attribute__((warn_unused_result));
/* DSSE pre-authentication encoding of that payload, appended. */
void statement_pae(struct span payload, struct buf *out);

#endif
