/* Making a key pair that the token will never give away. */
#ifndef KMS_TOKEN_GENERATE_H
#define KMS_TOKEN_GENERATE_H

#include "kmsd/token/key.h"
#include "kmsd/token/label.h"

/* Generates with a full template, reads every attribute back, probes (sign, verify), syncs. The SPKI is appended; *birth is what was read back.
 * A pair that does not come out as asked is destroyed again. */
int generate_key(struct token *t, const struct method *m, struct span id, const char *label, struct buf *spki, json_t **birth, struct fault *f)
    __attribute__((warn_unused_result));

#endif
