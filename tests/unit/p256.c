/* What the tests of P-256 verification share. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <openssl/core_names.h>
#include <openssl/x509.h>

#include "tests/unit/p256.h"

EC_GROUP *group;
const BIGNUM *n;
BIGNUM *p;
BN_CTX *ctx;
struct p256_batch *batch;

BIGNUM *number(void)
{
    BIGNUM *b = BN_new();

    assert_non_null(b);
    return b;
}

BIGNUM *word(BN_ULONG w)
{
    BIGNUM *b = number();

    assert_int_equal(BN_set_word(b, w), 1);
    return b;
}

BIGNUM *scalar(void)
{
    BIGNUM *b = number();

    do
        assert_int_equal(BN_rand_range(b, n), 1);
    while (BN_is_zero(b));
    return b;
}

EVP_PKEY *key_of(const EC_POINT *q)
{
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    char curve[] = "prime256v1";
    uint8_t bytes[65];
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, curve, 0),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, bytes, sizeof bytes),
        OSSL_PARAM_construct_end(),
    };
    EVP_PKEY *k = NULL;

    assert_int_equal(EC_POINT_point2oct(group, q, POINT_CONVERSION_UNCOMPRESSED, bytes, sizeof bytes, ctx), sizeof bytes);
    assert_int_equal(EVP_PKEY_fromdata_init(c), 1);
    assert_int_equal(EVP_PKEY_fromdata(c, &k, EVP_PKEY_PUBLIC_KEY, params), 1);
    EVP_PKEY_CTX_free(c);
    return k;
}

EVP_PKEY *key_of_scalar(const BIGNUM *d)
{
    EC_POINT *q = EC_POINT_new(group);
    EVP_PKEY *k;

    assert_int_equal(EC_POINT_mul(group, q, d, NULL, NULL, ctx), 1);
    k = key_of(q);
    EC_POINT_free(q);
    return k;
}

bool openssl_says(EVP_PKEY *k, const struct tried *t)
{
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new(k, NULL);
    bool good = EVP_PKEY_verify_init(c) == 1 && EVP_PKEY_verify(c, t->signature, t->len, t->digest, sizeof t->digest) == 1;

    EVP_PKEY_CTX_free(c);
    return good;
}

struct p256_item item_of(const struct p256_key *k, const struct tried *t)
{
    return (struct p256_item){.key = k, .digest = span_of(t->digest, sizeof t->digest), .signature = span_of(t->signature, t->len)};
}

bool we_say(const struct p256_key *k, const struct tried *t)
{
    struct p256_item item = item_of(k, t);

    p256_batch_verify(batch, &item, 1);
    return item.good;
}

bool judged(EVP_PKEY *public, const struct tried *t)
{
    struct p256_key *k = p256_key_new(public);
    bool good = openssl_says(public, t);

    assert_non_null(k);
    assert_int_equal(we_say(k, t), good);
    assert_int_equal(p256_key_table(k), 0);
    assert_int_equal(we_say(k, t), good);
    p256_key_free(k);
    return good;
}

/* OpenSSL's own encoder knows no negative numbers. */
void encode(struct tried *t, const BIGNUM *r, const BIGNUM *s)
{
    ASN1_INTEGER *both[2] = {BN_to_ASN1_INTEGER(r, NULL), BN_to_ASN1_INTEGER(s, NULL)};
    uint8_t *w = t->signature + 2;

    assert_true(both[0] && both[1]);
    assert_in_range(i2d_ASN1_INTEGER(both[0], NULL) + i2d_ASN1_INTEGER(both[1], NULL), 6, SIGNATURE_MAX - 2);
    for (int i = 0; i < 2; i++) {
        i2d_ASN1_INTEGER(both[i], &w);
        ASN1_INTEGER_free(both[i]);
    }
    t->len = (size_t)(w - t->signature);
    t->signature[0] = 0x30;
    t->signature[1] = (uint8_t)(t->len - 2);
}

void set_digest(struct tried *t, const BIGNUM *z)
{
    assert_int_equal(BN_bn2binpad(z, t->digest, sizeof t->digest), sizeof t->digest);
}

void sign_with(struct tried *t, const BIGNUM *d, const BIGNUM *nonce, const BIGNUM *z, BIGNUM *r, BIGNUM *s)
{
    EC_POINT *point = EC_POINT_new(group);
    BIGNUM *k = number();

    assert_int_equal(EC_POINT_mul(group, point, nonce, NULL, NULL, ctx), 1);
    assert_int_equal(EC_POINT_get_affine_coordinates(group, point, r, NULL, ctx), 1);
    assert_int_equal(BN_nnmod(r, r, n, ctx), 1);
    assert_non_null(BN_mod_inverse(k, nonce, n, ctx));
    assert_int_equal(BN_mod_mul(s, r, d, n, ctx), 1);
    assert_int_equal(BN_mod_add(s, s, z, n, ctx), 1);
    assert_int_equal(BN_mod_mul(s, s, k, n, ctx), 1);
    set_digest(t, z);
    encode(t, r, s);
    BN_free(k);
    EC_POINT_free(point);
}

int p256_set_up(void **state)
{
    (void)state;
    group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
    ctx = BN_CTX_new();
    p = BN_new();
    batch = p256_batch_new();
    n = EC_GROUP_get0_order(group);
    return ctx && batch && EC_GROUP_get_curve(group, p, NULL, NULL, ctx) == 1 ? 0 : -1;
}

int p256_tear_down(void **state)
{
    (void)state;
    p256_batch_free(batch);
    BN_free(p);
    BN_CTX_free(ctx);
    EC_GROUP_free(group);
    return 0;
}
