/* A key ready to sign: where it is on the token, the public key it must answer to. */
#ifndef KMS_TOKEN_KEY_H
#define KMS_TOKEN_KEY_H

#include <openssl/evp.h>

#include "kmsd/token/algorithm.h"
#include "kmsd/token/object.h"

#define KEY_ID_LEN 16
#define SPKI_MAX 128

struct key {
    uint8_t id[KEY_ID_LEN];
    const struct algorithm *algorithm;
    CK_OBJECT_HANDLE handle;
    unsigned epoch;               /* login the handle belongs to */
    EVP_PKEY *public;
    EVP_PKEY_CTX *verify;         /* set up once, for algorithms that sign a digest */
    uint8_t spki[SPKI_MAX];
    size_t spki_len;
};
#define KEY_AUTO __attribute__((cleanup(key_clear))) struct key

/* SPKI (DER) of the public key object with this CKA_ID, appended. */
int key_public(struct token *t, const struct algorithm *a, struct span id, struct buf *spki, struct fault *f) __attribute__((warn_unused_result));
/* Resolves the private key of this CKA_ID (KEY_ID_LEN bytes), demands that its public object equals spki. LANE_KEY otherwise. */
int key_open(struct token *t, const struct algorithm *a, struct span id, struct span spki, struct key *out, struct fault *f)
    __attribute__((warn_unused_result));
void key_clear(struct key *k);

/* Signs the message in the token, verifies the signature against the key's public key with OpenSSL, appends it (ECDSA: DER).
 * LANE_VERIFY when it does not verify. */
int key_sign(struct token *t, struct key *k, struct span message, struct buf *signature, struct fault *f) __attribute__((warn_unused_result));
/* Signs a fixed text that no scheme has as its input, verifies the signature, throws it away. */
int key_probe(struct token *t, struct key *k, struct fault *f) __attribute__((warn_unused_result));

#endif
