/* A key ready to sign: where it is on the token, the public key it must answer to. */
#ifndef KMS_TOKEN_KEY_H
#define KMS_TOKEN_KEY_H

#include "kmsd/token/object.h"
#include "kmsd/token/method.h"
#include "kmsd/token/p256verify.h"

#define KEY_ID_LEN 16
#define SPKI_MAX 576 /* an RSA-4096 key has 550 */

struct key {
    uint8_t id[KEY_ID_LEN];
    const struct method *method;
    CK_OBJECT_HANDLE handle;
    unsigned epoch;               /* login the handle belongs to */
    bool copyable;                /* the session may hold a copy of it: copy.c */
    CK_OBJECT_HANDLE copy;
    unsigned copied;              /* session that the copy belongs to, as the token counts them */
    bool loose;                   /* signatures were made with a copy, or had been begun ahead, and key_still was not asked since */
    EVP_PKEY *public;
    EVP_PKEY_CTX *verify;         /* set up once, for methods with a hash */
    struct p256_key *p256;        /* P-256: judges many at once; NULL = every signature is judged by itself */
    unsigned judged;              /* so many signatures, as the lane counts */
    uint8_t spki[SPKI_MAX];
    size_t spki_len;
};
#define KEY_AUTO __attribute__((cleanup(key_clear))) struct key

/* public.c: SPKI (DER) of the public key object with this CKA_ID, appended. LANE_KEY when there is none, or it is not of that algorithm. */
int key_public(struct token *t, const struct algorithm *a, struct span id, struct buf *spki, struct fault *f) __attribute__((warn_unused_result));
/* Resolves the private key of this CKA_ID (KEY_ID_LEN bytes), demands that its public object equals spki. LANE_KEY otherwise. */
int key_open(struct token *t, const struct method *m, struct span id, struct span spki, struct key *out, struct fault *f)
    __attribute__((warn_unused_result));
void key_clear(struct key *k);

/* sign.c: after a new login the handle anew; the public half must still be the recorded one. */
int key_resolve(struct token *t, struct key *k, struct fault *f) __attribute__((warn_unused_result));

/* copy.c: whether the settings, the algorithm and the key itself allow a copy. */
bool key_copyable(struct token *t, const struct key *k);
/* The session's copy, made where it has none yet; a key that cannot be copied: itself. */
CK_OBJECT_HANDLE key_quick_handle(struct token *t, struct key *k);
/* The copy, where there is one, is gone from the session, and none will be made. */
int key_uncopy(struct token *t, struct key *k, struct fault *f) __attribute__((warn_unused_result));
/* A key that was used as a copy, or ahead, is still on the token, and may sign. Both outlive it, and what was made so must be judged when neither is there any more. */
int key_still(struct token *t, struct key *k, struct fault *f) __attribute__((warn_unused_result));

/* verify.c: what OpenSSL needs to judge signatures by this SPKI. */
int key_verifier(struct key *k, struct span spki, struct fault *f) __attribute__((warn_unused_result));
/* Is it a signature of the key over this digest (methods without a hash: message), padded exactly as the method says? */
bool key_verifies(const struct key *k, struct span digest, struct span signature);
/* The bytes inside a PKCS#1 block (type 1) that the key made. false: there is no such block. */
bool key_recovers(const struct key *k, struct span signature, struct buf *inside);

/* Signs the input in the token, verifies the signature against the key's public key with OpenSSL, appends it (ECDSA: DER).
 * LANE_INPUT when the scheme does not take the input, LANE_VERIFY when the signature does not verify. */
int key_sign(struct token *t, struct key *k, struct span input, struct buf *signature, struct fault *f) __attribute__((warn_unused_result));
/* A signature of the token that nobody has verified. */
struct made {
    uint64_t id;  /* the caller's */
    struct key *key;
    uint8_t digest[P256_DIGEST_LEN], signature[P256_DER_MAX];
    size_t len;
    bool good;
};
/* As key_sign, but for the verification, and with a session copy where the key allows one, or as what was begun ahead: for keys that have `p256`, and the signature stays in the process
 * until keys_judge found it good and key_still the key in its place. */
int key_make(struct token *t, struct key *k, struct span input, struct made *out, struct fault *f) __attribute__((warn_unused_result));
/* verify.c: sets `good` of each. At most P256_BATCH_MAX. */
void keys_judge(struct p256_batch *b, struct made *list, size_t n);

/* Signs a fixed text that no scheme has as its input, verifies the signature, throws it away. */
int key_probe(struct token *t, struct key *k, struct fault *f) __attribute__((warn_unused_result));
/* CKM_RSA_PKCS only: does the token put a DigestInfo before input that has the length of a hash? */
int key_adds_digest_info(struct token *t, struct key *k, bool *adds, struct fault *f) __attribute__((warn_unused_result));

#endif
