/* Key algorithms this program knows: one table for generation, signing, public keys. */
#ifndef KMS_TOKEN_ALGORITHM_H
#define KMS_TOKEN_ALGORITHM_H

#include <p11-kit/pkcs11.h>

#include "base/buf.h"

#define POINT_MAX 72
#define RAW_SIGNATURE_MAX 64

struct algorithm {
    const char *name;                    /* as the core says it */
    const char *scheme;                  /* the scheme a release key of it can have, NULL = no release keys */
    CK_KEY_TYPE type;
    struct span params;                  /* CKA_EC_PARAMS, DER */
    CK_MECHANISM_TYPE generate, sign;
    const char *generate_name, *sign_name;
    struct span spki_prefix;             /* SubjectPublicKeyInfo up to the point (RFC 5480, RFC 8410) */
    size_t point_len;
    /* true: SHA-256 outside the token, the token signs the digest, r || s becomes DER. false: the message goes in whole, 64 bytes come out. */
    bool prehash;
};

extern const struct algorithm algorithm_p256, algorithm_ed25519;

/* NULL when there is none of that name. */
const struct algorithm *algorithm_find(struct span name);

#endif
