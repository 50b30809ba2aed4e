/* One-shot preparation of a new instance: tokens, CA, TLS certificate, checkpoint key. */
#ifndef KMS_TOKEN_SETUP_H
#define KMS_TOKEN_SETUP_H

#include "base/buf.h"
#include "kmsd/settings.h"
#include "kmsd/token/fault.h"

struct setup_options {
    const char *origin;
    const char *admin_csr, *admin_out; /* NULL = no certificate for an administrator */
    const char *admin_cn;
};

/* Does everything and appends one line of canonical JSON that says what was made. Refuses when anything of it exists already. */
int setup_run(const struct settings *s, const struct setup_options *o, struct buf *line, struct fault *f) __attribute__((warn_unused_result));

#endif
