/* Verification of ECDSA signatures of P-256 (FIPS 186-5, 6.4.2), many at once. It may refuse what is good and leaves that judgement to others;
 * it accepts nothing that is not good. Everything it handles is public: it takes as long as it takes. */
#ifndef KMS_TOKEN_P256VERIFY_H
#define KMS_TOKEN_P256VERIFY_H

#include <openssl/evp.h>

#include "base/buf.h"

#define P256_BATCH_MAX 64
#define P256_DIGEST_LEN 32
#define P256_DER_MAX 72 /* a longer Ecdsa-Sig-Value has a number that is too large */

struct p256_key;   /* a public key, and perhaps the table of its multiples */
struct p256_batch; /* room to work in */

struct p256_item {
    const struct p256_key *key;
    struct span digest;     /* P256_DIGEST_LEN bytes */
    struct span signature;  /* Ecdsa-Sig-Value, DER (RFC 3279, 2.2.3) */
    bool good;              /* the verdict */
};

/* NULL when it is not a public key of P-256, or for want of memory. */
struct p256_key *p256_key_new(const EVP_PKEY *public);
void p256_key_free(struct p256_key *k);
/* Builds the table, once: takes 20 ms and 150 KiB, after which a verification costs a third. -1: there is none, everything works as before. */
int p256_key_table(struct p256_key *k);
bool p256_key_has_table(const struct p256_key *k);

struct p256_batch *p256_batch_new(void);
void p256_batch_free(struct p256_batch *b);
/* Sets every verdict. At most P256_BATCH_MAX items; of more none is good. */
void p256_batch_verify(struct p256_batch *b, struct p256_item *items, size_t n);

#endif
