/* ECDSA verification of P-256 in batches, by OpenSSL's points and numbers.
 *
 * With z = digest, w = 1/s mod n, u1 = z w, u2 = r w, a signature (r, s) is good when R = u1 G + u2 Q is not the point at infinity and x(R) mod n = r.
 * What EVP_PKEY_verify spends on that is saved in three places:
 * - Q is made the generator of a group of its own, so that OpenSSL builds the table of multiples for it that it has for G;
 * - one inversion mod n serves the whole batch (Montgomery: invert the product, take the others out again);
 * - x(R) = X/Z^2 is not computed: X = x Z^2 mod p is compared, for x = r and, where that is below p, x = r + n. */
#define OPENSSL_SUPPRESS_DEPRECATED /* EC_GROUP_precompute_mult and the coordinates X, Z have no successor */
#include "kmsd/token/p256verify.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

#define POINT_BYTES 65 /* uncompressed */

struct p256_key {
    EC_GROUP *group; /* P-256 with the key as its generator */
};

struct row {
    struct p256_item *item;
    ECDSA_SIG *sig;
    const BIGNUM *r, *s;  /* of sig */
    BIGNUM *before;       /* product of the s of all rows before this one */
};
struct p256_batch {
    EC_GROUP *group;
    BN_CTX *ctx;
    const BIGNUM *n;                        /* order, the group's */
    BIGNUM *p;                              /* of the field */
    BIGNUM *all, *w, *u1, *u2, *x, *z, *t;
    EC_POINT *left, *right;
    struct row row[P256_BATCH_MAX];
};

static EC_POINT *public_point(const EVP_PKEY *public, const EC_GROUP *group)
{
    uint8_t bytes[POINT_BYTES];
    char curve[16];
    size_t len = 0;
    EC_POINT *q;

    if (EVP_PKEY_get_utf8_string_param(public, OSSL_PKEY_PARAM_GROUP_NAME, curve, sizeof curve, &len) != 1 || strcmp(curve, SN_X9_62_prime256v1) != 0 ||
        EVP_PKEY_get_octet_string_param(public, OSSL_PKEY_PARAM_PUB_KEY, bytes, sizeof bytes, &len) != 1)
        return NULL;
    q = EC_POINT_new(group);
    if (q && EC_POINT_oct2point(group, q, bytes, len, NULL) == 1 && !EC_POINT_is_at_infinity(group, q))
        return q;
    EC_POINT_free(q);
    return NULL;
}

struct p256_key *p256_key_new(const EVP_PKEY *public)
{
    struct p256_key *k = calloc(1, sizeof *k);
    EC_POINT *q = NULL;
    int ok;

    if (!k)
        return NULL;
    k->group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
    if (k->group)
        q = public_point(public, k->group);
    ok = q && EC_GROUP_set_generator(k->group, q, EC_GROUP_get0_order(k->group), EC_GROUP_get0_cofactor(k->group));
    EC_POINT_free(q);
    ERR_clear_error();
    if (ok)
        return k;
    p256_key_free(k);
    return NULL;
}

void p256_key_free(struct p256_key *k)
{
    if (!k)
        return;
    EC_GROUP_free(k->group);
    free(k);
}

int p256_key_table(struct p256_key *k)
{
    bool built = EC_GROUP_have_precompute_mult(k->group) || EC_GROUP_precompute_mult(k->group, NULL) == 1;

    ERR_clear_error();
    return built ? 0 : -1;
}

bool p256_key_has_table(const struct p256_key *k)
{
    return EC_GROUP_have_precompute_mult(k->group);
}

static bool make_numbers(struct p256_batch *b)
{
    BIGNUM **const numbers[] = {&b->p, &b->all, &b->w, &b->u1, &b->u2, &b->x, &b->z, &b->t};

    for (size_t k = 0; k < sizeof numbers / sizeof *numbers; k++)
        if (!(*numbers[k] = BN_new()))
            return false;
    for (size_t k = 0; k < P256_BATCH_MAX; k++)
        if (!(b->row[k].before = BN_new()))
            return false;
    return true;
}

struct p256_batch *p256_batch_new(void)
{
    struct p256_batch *b = calloc(1, sizeof *b);

    if (!b)
        return NULL;
    b->group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
    b->ctx = BN_CTX_new();
    if (b->group && b->ctx && make_numbers(b)) {
        b->n = EC_GROUP_get0_order(b->group);
        b->left = EC_POINT_new(b->group);
        b->right = EC_POINT_new(b->group);
        if (b->left && b->right && EC_GROUP_get_curve(b->group, b->p, NULL, NULL, b->ctx) == 1)
            return b;
    }
    p256_batch_free(b);
    return NULL;
}

void p256_batch_free(struct p256_batch *b)
{
    if (!b)
        return;
    for (size_t k = 0; k < P256_BATCH_MAX; k++)
        BN_free(b->row[k].before);
    BN_free(b->p);
    BN_free(b->all);
    BN_free(b->w);
    BN_free(b->u1);
    BN_free(b->u2);
    BN_free(b->x);
    BN_free(b->z);
    BN_free(b->t);
    EC_POINT_free(b->left);
    EC_POINT_free(b->right);
    BN_CTX_free(b->ctx);
    EC_GROUP_free(b->group);
    free(b);
}

/* The one encoding of these two numbers, with nothing after it: DER, not BER. */
static ECDSA_SIG *parse(struct span der)
{
    uint8_t again[P256_DER_MAX], *w = again;
    const uint8_t *p = der.data;
    ECDSA_SIG *sig = der.len <= P256_DER_MAX ? d2i_ECDSA_SIG(NULL, &p, (long)der.len) : NULL;

    if (sig && i2d_ECDSA_SIG(sig, NULL) == (int)der.len && i2d_ECDSA_SIG(sig, &w) == (int)der.len && !memcmp(again, der.data, der.len))
        return sig;
    ECDSA_SIG_free(sig);
    return NULL;
}

static bool in_range(const BIGNUM *v, const BIGNUM *n)
{
    return !BN_is_zero(v) && !BN_is_negative(v) && BN_ucmp(v, n) < 0;
}

/* Fills the next row when the item can be good at all. */
static bool take(const struct p256_batch *b, struct p256_item *item, struct row *row)
{
    if (!item->key || item->digest.len != P256_DIGEST_LEN || !(row->sig = parse(item->signature)))
        return false;
    row->item = item;
    ECDSA_SIG_get0(row->sig, &row->r, &row->s);
    if (in_range(row->r, b->n) && in_range(row->s, b->n))
        return true;
    ECDSA_SIG_free(row->sig);
    return false;
}

/* all = 1 / (product of every s); each row knows the product before it. */
static bool invert_all(struct p256_batch *b, size_t rows)
{
    if (BN_one(b->all) != 1)
        return false;
    for (size_t k = 0; k < rows; k++)
        if (!BN_copy(b->row[k].before, b->all) || BN_mod_mul(b->all, b->all, b->row[k].s, b->n, b->ctx) != 1)
            return false;
    return BN_mod_inverse(b->all, b->all, b->n, b->ctx) != NULL;
}

/* Is x the affine coordinate of the point (X : Y : Z)? t = Z^2. */
static bool is_x(struct p256_batch *b, const BIGNUM *x)
{
    return BN_mod_mul(b->w, x, b->t, b->p, b->ctx) == 1 && BN_cmp(b->w, b->x) == 0;
}

/* x(R) mod n = r, R in `left`. */
static bool has_x(struct p256_batch *b, const BIGNUM *r)
{
    if (EC_POINT_is_at_infinity(b->group, b->left) || EC_POINT_get_Jprojective_coordinates_GFp(b->group, b->left, b->x, NULL, b->z, b->ctx) != 1 ||
        BN_mod_sqr(b->t, b->z, b->p, b->ctx) != 1)
        return false;
    if (is_x(b, r))
        return true;
    return BN_add(b->u1, r, b->n) == 1 && BN_cmp(b->u1, b->p) < 0 && is_x(b, b->u1);
}

/* Takes this row's 1/s out of `all`, which must be the inverse of the product of the rows up to it. */
static bool judge(struct p256_batch *b, const struct row *row, bool *good)
{
    const struct p256_item *item = row->item;

    if (BN_mod_mul(b->w, b->all, row->before, b->n, b->ctx) != 1 || BN_mod_mul(b->all, b->all, row->s, b->n, b->ctx) != 1)
        return false;
    *good = BN_bin2bn(item->digest.data, P256_DIGEST_LEN, b->u1) && BN_mod_mul(b->u1, b->u1, b->w, b->n, b->ctx) == 1 &&
            BN_mod_mul(b->u2, row->r, b->w, b->n, b->ctx) == 1 && EC_POINT_mul(b->group, b->left, b->u1, NULL, NULL, b->ctx) == 1 &&
            EC_POINT_mul(item->key->group, b->right, b->u2, NULL, NULL, b->ctx) == 1 &&
            EC_POINT_add(b->group, b->left, b->left, b->right, b->ctx) == 1 && has_x(b, row->r);
    return true;
}

void p256_batch_verify(struct p256_batch *b, struct p256_item *items, size_t n)
{
    size_t rows = 0;

    for (size_t k = 0; k < n; k++)
        items[k].good = false;
    for (size_t k = 0; k < n && n <= P256_BATCH_MAX; k++)
        rows += take(b, &items[k], &b->row[rows]);
    if (rows && invert_all(b, rows))
        for (size_t k = rows; k-- > 0;)
            if (!judge(b, &b->row[k], &b->row[k].item->good))
                break;
    for (size_t k = 0; k < rows; k++)
        ECDSA_SIG_free(b->row[k].sig);
    ERR_clear_error();
}
