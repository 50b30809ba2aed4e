/* The TLS key pair and certificate of the two doors. */
#ifndef KMS_TOKEN_SERVERCERT_H
#define KMS_TOKEN_SERVERCERT_H

#include "kmsd/token/issue.h"

/* A P-256 key in a file (0600), its certificate for localhost and the listening addresses, valid from `from` for 398 days, signed by the CA key. */
int server_certificate(struct token *t, struct authority *ca, const struct settings *s, const char *cn, int64_t from, struct fault *f)
    __attribute__((warn_unused_result));
/* Such a certificate (DER, appended) for a key that is there already. */
int server_certificate_for(struct token *t, struct authority *ca, const struct settings *s, EVP_PKEY *key, const char *cn, int64_t from,
                           struct buf *der,
                           struct fault *f) __attribute__((warn_unused_result));
/* 16 random bytes of a positive serial number. */
int random_serial(uint8_t out[static CERT_SERIAL_LEN], struct fault *f) __attribute__((warn_unused_result));
/* Writes DER as a PEM certificate, 0644. */
int write_certificate(const char *path, struct span der, struct fault *f) __attribute__((warn_unused_result));

#endif
