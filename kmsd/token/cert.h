/* Building X.509 certificates (RFC 5280) that a key of the token signs. */
#ifndef KMS_TOKEN_CERT_H
#define KMS_TOKEN_CERT_H

#include <openssl/x509.h>

#include "kmsd/token/key.h"

#define CERT_NAMES_MAX 8
#define CERT_SERIAL_LEN 16
#define CERT_DAY (INT64_C(86400) * INT64_C(1000000))
#define CERT_LEAF_MAX (398 * CERT_DAY)
#define CERT_BACKDATE_MAX (INT64_C(600) * INT64_C(1000000)) /* a certificate may begin before now, for clocks that are behind */
#define CERT_DER_MAX 8192

enum cert_kind { CERT_CLIENT, CERT_SERVER, CERT_CA };

/* Everything that goes in; nothing is copied from a signing request but its public key. Texts are borrowed. */
struct cert_profile {
    enum cert_kind kind;
    uint8_t serial[CERT_SERIAL_LEN];
    const char *cn;
    int64_t not_before, not_after;      /* microseconds since 1970; seconds count */
    const char *uri[CERT_NAMES_MAX], *dns[CERT_NAMES_MAX], *ip[CERT_NAMES_MAX];
    size_t n_uri, n_dns, n_ip;
};

/* Checks the profile, builds the certificate for the public key, has it signed with SHA-256 by the P-256 key `ca`, verifies it, appends the DER.
 * issuer NULL = self-signed. LANE_INPUT when the profile is not usable. */
int cert_make(struct token *t, struct key *ca, X509 *issuer, EVP_PKEY *subject, const struct cert_profile *p, struct buf *der, struct fault *f)
    __attribute__((warn_unused_result));

/* One PEM certificate of a file; caller frees. NULL with f filled. */
X509 *cert_load(const char *path, struct fault *f);

#endif
