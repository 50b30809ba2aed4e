/* Another certificate for the doors, issued by the CA key on the token. */
#ifndef KMS_TOKEN_RENEWSERVER_H
#define KMS_TOKEN_RENEWSERVER_H

#include "kmsd/settings.h"
#include "kmsd/token/fault.h"

/* For that public key (SPKI, base64); PEM, appended. */
int renew_server(const struct settings *s, const char *spki_b64, struct buf *pem, struct fault *f) __attribute__((warn_unused_result));

#endif
