/* Certificates that the CA key issues without the core: for the doors, and for an administrator whom the owner of the machine lets in. */
#ifndef KMS_TOKEN_OFFLINEISSUE_H
#define KMS_TOKEN_OFFLINEISSUE_H

#include "kmsd/settings.h"
#include "kmsd/token/fault.h"

/* For that public key (SPKI, base64); PEM, appended. */
int renew_server(const struct settings *s, const char *spki_b64, struct buf *pem, struct fault *f) __attribute__((warn_unused_result));
/* For that signing request (DER, base64), under that common name; PEM, appended. */
int recover_admin(const struct settings *s, const char *csr_b64, const char *cn, struct buf *pem,
                  struct fault *f) __attribute__((warn_unused_result));

#endif
