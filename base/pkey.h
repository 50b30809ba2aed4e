/* The kinds of public key that are used here, inside base only. */
#ifndef KMS_BASE_PKEY_H
#define KMS_BASE_PKEY_H

#include <openssl/evp.h>

enum pkey_kind { PKEY_OTHER, PKEY_P256, PKEY_P384, PKEY_ED25519, PKEY_RSA };

/* PKEY_OTHER: another algorithm or curve, curve parameters written out, RSA outside 2048 to 8192 bits or with an exponent that is 1 or even. */
enum pkey_kind pkey_kind(const EVP_PKEY *k);

#endif
