/* The release statement (in-toto Statement v1, predicate https://kmsd.dev/release/v1) as plain values. */
#ifndef KMS_CLIENT_RELEASE_H
#define KMS_CLIENT_RELEASE_H

#include "base/json.h"
#include "client/kms.h"

/* Strict: an unknown or missing member, a name outside its alphabet, or another predicate type is refused. Written only on success. */
int release_parse(struct span payload, struct kms_release *out, struct err *e) __attribute__((warn_unused_result));
/* The same values as a JSON object; caller owns. */
json_t *release_to_json(const struct kms_release *r);

#endif
