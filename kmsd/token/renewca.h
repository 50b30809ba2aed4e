/* Another CA key on the token, and its certificate. */
#ifndef KMS_TOKEN_RENEWCA_H
#define KMS_TOKEN_RENEWCA_H

#include "kmsd/settings.h"
#include "kmsd/token/fault.h"

/* Appends {"birth","cert_b64","key_id","spki_b64"}, canonical JSON. The CA keys that were there before stay. */
int renew_ca(const struct settings *s, struct buf *line, struct fault *f) __attribute__((warn_unused_result));

#endif
