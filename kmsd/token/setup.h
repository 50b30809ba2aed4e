/* One-shot preparation of a new instance: tokens, CA, TLS certificate, checkpoint key. */
#ifndef KMS_TOKEN_SETUP_H
#define KMS_TOKEN_SETUP_H

#include "base/buf.h"
#include "kmsd/settings.h"
#include "kmsd/token/fault.h"
#include "kmsd/token/issue.h"

struct setup_options {
    const char *origin;
    const char *admin_csr, *admin_out; /* NULL = no certificate for an administrator */
    const char *admin_cn;
};

/* Does everything and appends one line of canonical JSON that says what was made. Refuses when anything of it exists already. */
int setup_run(const struct settings *s, const struct setup_options *o, struct buf *line, struct fault *f) __attribute__((warn_unused_result));

/* The parts of it. A key of the instance under a random id, which id receives: {"birth","key_id","spki_b64"}. */
json_t *setup_key(struct token *t, const struct method *m, const char *label, uint8_t id[static KEY_ID_LEN], struct fault *f);
/* The certificate (DER, appended) of a CA key for ten years, signed with itself. */
int setup_ca_certificate(struct token *t, struct span id, const char *cn, int64_t from, struct buf *der,
                         struct fault *f) __attribute__((warn_unused_result));
int setup_b64(json_t *object, const char *name, struct span bytes, struct fault *f) __attribute__((warn_unused_result));

#endif
