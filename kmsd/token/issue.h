/* The certificate authority of the administrative lane. */
#ifndef KMS_TOKEN_ISSUE_H
#define KMS_TOKEN_ISSUE_H

#include "kmsd/token/cert.h"

struct authority {
    struct key key;
    X509 *cert;       /* NULL = not loaded */
};

/* Finds the key labelled kmsd:ca, loads the CA certificate, demands that they belong together. LANE_KEY otherwise. */
int authority_open(struct token *t, const char *ca_path, struct authority *out, struct fault *f) __attribute__((warn_unused_result));
void authority_close(struct authority *a);
/* Certificate (DER, appended) for the public key of the CSR (DER), as the profile (JSON) says. */
int authority_issue(struct token *t, struct authority *a, struct span csr, struct span profile, struct buf *der, struct fault *f)
    __attribute__((warn_unused_result));
/* As above with a profile in hand. */
int authority_issue_profile(struct token *t, struct authority *a, struct span csr, const struct cert_profile *p, struct buf *der, struct fault *f)
    __attribute__((warn_unused_result));

#endif
