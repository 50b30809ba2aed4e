/* Another PIN for a token, chosen at random. */
#ifndef KMS_TOKEN_CHANGEPIN_H
#define KMS_TOKEN_CHANGEPIN_H

#include "kmsd/settings.h"
#include "kmsd/token/fault.h"

/* Changes the PIN, or brings a change to its end that was interrupted. The service must not run. write: for a PIN that is a credential the file that keeps the
 * new one; NULL for a PIN in a file. */
int changepin_run(const struct settings *s, const struct token_settings *t, const char *write, struct fault *f) __attribute__((warn_unused_result));

#endif
