/* Fuzzes p256_batch_verify: what it says of a signature is what OpenSSL says, in whatever company. The first byte of an input chooses key and company,
 * the next three spoil, then a digest follows, then a signature: as it is, or as two numbers that are encoded here, or as a nonce to sign with. */
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/ec.h>
#include <stdlib.h>
#include <string.h>

#include "kmsd/token/p256verify.h"

#define KEYS 4
#define HEAD (4 + P256_DIGEST_LEN)
#define COMPANY 3

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
    BIGNUM *d;
    EVP_PKEY *public;
    EVP_PKEY_CTX *check;
    struct p256_key *key;
} keys[KEYS];
static EC_GROUP *group;
static const BIGNUM *n;
static BN_CTX *ctx;
static struct p256_batch *batch;

static void require(bool holds)
{
    if (!holds)
        abort();
}

/* 1, n - 1, and two of no meaning; every other one with a table. */
static void make_key(unsigned i)
{
    EC_POINT *q = EC_POINT_new(group);
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    char curve[] = "prime256v1";
    uint8_t bytes[65];
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, curve, 0),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, bytes, sizeof bytes),
        OSSL_PARAM_construct_end(),
    };

    keys[i].d = BN_new();
    require(BN_set_word(keys[i].d, i < 2 ? 1 : 0xdecafbadul * i) && (i != 1 || BN_sub(keys[i].d, n, keys[i].d)));
    require(EC_POINT_mul(group, q, keys[i].d, NULL, NULL, ctx) && EC_POINT_point2oct(group, q, POINT_CONVERSION_UNCOMPRESSED, bytes, sizeof bytes, ctx));
    require(EVP_PKEY_fromdata_init(c) == 1 && EVP_PKEY_fromdata(c, &keys[i].public, EVP_PKEY_PUBLIC_KEY, params) == 1);
    keys[i].check = EVP_PKEY_CTX_new(keys[i].public, NULL);
    keys[i].key = p256_key_new(keys[i].public);
    require(keys[i].key && EVP_PKEY_verify_init(keys[i].check) == 1 && (i % 2 || !p256_key_table(keys[i].key)));
    EVP_PKEY_CTX_free(c);
    EC_POINT_free(q);
}

static void prepare(void)
{
    group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
    ctx = BN_CTX_new();
    batch = p256_batch_new();
    require(group && ctx && batch);
    n = EC_GROUP_get0_order(group);
    for (unsigned i = 0; i < KEYS; i++)
        make_key(i);
}

static size_t encode(const BIGNUM *r, const BIGNUM *s, uint8_t *out)
{
    ECDSA_SIG *sig = ECDSA_SIG_new();
    int len;

    require(sig && ECDSA_SIG_set0(sig, BN_dup(r), BN_dup(s)));
    len = i2d_ECDSA_SIG(sig, &out);
    ECDSA_SIG_free(sig);
    return len > 0 ? (size_t)len : 0;
}

/* An honest signature, its nonce from the input; the digest may be r d (u1 G = u2 Q) or n - r d (s = 0, so that another is put there). */
static size_t sign(unsigned key, unsigned how, uint8_t *digest, struct span from, uint8_t *out)
{
    EC_POINT *point = EC_POINT_new(group);
    BIGNUM *k = BN_bin2bn(from.data, (int)from.len, NULL), *r = BN_new(), *s = BN_new(), *z = BN_bin2bn(digest, P256_DIGEST_LEN, NULL);
    size_t len = 0;

    require(point && k && r && s && z && BN_nnmod(k, k, n, ctx));
    if (!BN_is_zero(k)) {
        require(EC_POINT_mul(group, point, k, NULL, NULL, ctx) && EC_POINT_get_affine_coordinates(group, point, r, NULL, ctx) && BN_nnmod(r, r, n, ctx));
        if (how)
            require(BN_mod_mul(z, r, keys[key].d, n, ctx) && (how == 1 || BN_sub(z, n, z)) && BN_bn2binpad(z, digest, P256_DIGEST_LEN) > 0);
        require(BN_mod_mul(s, r, keys[key].d, n, ctx) && BN_mod_add(s, s, z, n, ctx) && BN_mod_inverse(k, k, n, ctx) && BN_mod_mul(s, s, k, n, ctx));
        if (BN_is_zero(s))
            BN_copy(s, k);
        len = encode(r, s, out);
    }
    BN_free(k), BN_free(r), BN_free(s), BN_free(z);
    EC_POINT_free(point);
    return len;
}

/* The signature of this input, as its first byte says. */
static size_t signature_of(const uint8_t *data, size_t size, unsigned key, uint8_t *digest, uint8_t *out)
{
    unsigned how = data[0] >> 2 & 3;
    struct span rest = span_of(data + HEAD, size - HEAD);
    size_t half = rest.len / 2 < 34 ? rest.len / 2 : 34;
    BIGNUM *r, *s;
    size_t len;

    if (how == 0) {
        len = rest.len < 80 ? rest.len : 80;
        memcpy(out, rest.data, len);
        return len;
    }
    if (how > 1)
        return sign(key, how == 2 ? 0 : 1 + (data[1] & 1), digest, span_of(rest.data, rest.len < 32 ? rest.len : 32), out);
    r = BN_bin2bn(rest.data, (int)half, NULL);
    s = BN_bin2bn(rest.data + half, (int)half, NULL);
    len = encode(r, s, out);
    BN_free(r), BN_free(s);
    return len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t digest[P256_DIGEST_LEN], signature[128] = {0}, fine[128], other[P256_DIGEST_LEN] = "in good company";
    struct p256_item items[COMPANY];
    unsigned key, at;
    size_t len, fine_len;
    bool want;

    if (size < HEAD)
        return 0;
    if (!group)
        prepare();
    key = data[0] & 3;
    at = (data[0] >> 4 & 3) % COMPANY;
    memcpy(digest, data + 4, sizeof digest);
    len = signature_of(data, size, key, digest, signature);
    if (data[2] && len)
        signature[data[2] % len] ^= data[3];
    fine_len = sign(2, 0, other, span_str("a nonce of sorts"), fine);
    want = EVP_PKEY_verify(keys[key].check, signature, len, digest, sizeof digest) == 1;
    for (unsigned i = 0; i < COMPANY; i++)
        items[i] = i == at ? (struct p256_item){keys[key].key, span_of(digest, sizeof digest), span_of(signature, len), !want}
                           : (struct p256_item){keys[2].key, span_of(other, sizeof other), span_of(fine, fine_len), false};
    p256_batch_verify(batch, items, COMPANY);
    for (unsigned i = 0; i < COMPANY; i++)
        require(items[i].good == (i == at ? want : true));
    return 0;
}
