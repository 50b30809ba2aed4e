/* What the tests of P-256 verification share: numbers, keys made from points, signatures made from numbers. */
#ifndef KMS_TESTS_UNIT_P256_H
#define KMS_TESTS_UNIT_P256_H

#include <openssl/ec.h>

#include "kmsd/token/p256verify.h"

#define SIGNATURE_MAX 112

struct tried {
    uint8_t digest[P256_DIGEST_LEN], signature[SIGNATURE_MAX];
    size_t len;
};

extern EC_GROUP *group;
extern const BIGNUM *n;  /* order */
extern BIGNUM *p;        /* of the field */
extern BN_CTX *ctx;
extern struct p256_batch *batch;

int p256_set_up(void **state);
int p256_tear_down(void **state);

BIGNUM *number(void);
BIGNUM *word(BN_ULONG w);
/* Random, neither 0 nor beyond the order. */
BIGNUM *scalar(void);
EVP_PKEY *key_of(const EC_POINT *q);
EVP_PKEY *key_of_scalar(const BIGNUM *d);

bool openssl_says(EVP_PKEY *k, const struct tried *t);
struct p256_item item_of(const struct p256_key *k, const struct tried *t);
bool we_say(const struct p256_key *k, const struct tried *t);
/* What both judges agree on, without a table and with one. */
bool judged(EVP_PKEY *public, const struct tried *t);

/* Any two numbers, negative ones included. */
void encode(struct tried *t, const BIGNUM *r, const BIGNUM *s);
void set_digest(struct tried *t, const BIGNUM *z);
/* Signs z with this nonce: r and s come out as well. */
void sign_with(struct tried *t, const BIGNUM *d, const BIGNUM *nonce, const BIGNUM *z, BIGNUM *r, BIGNUM *s);

#endif
