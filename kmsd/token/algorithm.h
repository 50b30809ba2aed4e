/* Kinds of key pair this program knows: one table for their generation and their public halves. */
#ifndef KMS_TOKEN_ALGORITHM_H
#define KMS_TOKEN_ALGORITHM_H

#include <stdbool.h>

#include <p11-kit/pkcs11.h>

#include "base/buf.h"

#define POINT_MAX 112
#define MODULUS_MAX 512
#define RAW_SIGNATURE_MAX MODULUS_MAX
#define RSA_EXPONENT 65537

struct curve {
    struct span params;       /* CKA_EC_PARAMS, DER */
    struct span spki_prefix;  /* SubjectPublicKeyInfo up to the point (RFC 5480, RFC 8410) */
    size_t point_len;
};
struct algorithm {
    const char *name;           /* as the core says it */
    CK_KEY_TYPE type;
    CK_MECHANISM_TYPE generate;
    const char *generate_name;
    const struct curve *curve;  /* NULL = RSA, whose public exponent is RSA_EXPONENT */
    CK_ULONG modulus_bits;      /* RSA */
    bool copies;                /* a signature takes so little time that a session copy of the key is worth having */
    size_t signature_len;       /* as it comes from the token: r || s, or the block */
};

extern const struct algorithm algorithm_p256, algorithm_p384, algorithm_rsa_2048, algorithm_rsa_3072, algorithm_rsa_4096, algorithm_ed25519;

/* In turn, from 0 on; NULL when there are no more. */
const struct algorithm *algorithm_at(size_t n);

#endif
