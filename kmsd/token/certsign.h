/* Signing a built certificate with a key of the token. */
#ifndef KMS_TOKEN_CERTSIGN_H
#define KMS_TOKEN_CERTSIGN_H

#include <openssl/x509.h>

#include "kmsd/token/key.h"

/* x is complete but for its signature. Appends the signed DER after verifying it with the public key of `ca`. */
int cert_sign(struct token *t, struct key *ca, X509 *x, struct buf *der, struct fault *f) __attribute__((warn_unused_result));

#endif
