/* Tests of kmsd/token/p256verify.c: signatures that chance does not make. Each verdict is held against OpenSSL's own. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "tests/unit/p256.h"

static void numbers_out_of_range(void **state)
{
    BIGNUM *d = scalar(), *k = scalar(), *z = scalar(), *r = number(), *s = number(), *v = number();
    BIGNUM *edges[8];
    EVP_PKEY *public = key_of_scalar(d);
    struct tried t;

    (void)state;
    sign_with(&t, d, k, z, r, s);
    assert_true(judged(public, &t));
    assert_int_equal(BN_sub(v, n, s), 1); /* the other s of the same signature */
    encode(&t, r, v);
    assert_true(judged(public, &t));
    edges[0] = word(0), edges[1] = BN_dup(n), edges[2] = BN_dup(p), edges[3] = word(1);
    for (int i = 4; i < 8; i++)
        edges[i] = number();
    assert_int_equal(BN_add(edges[4], r, n) & BN_add(edges[5], s, n) & BN_lshift(edges[6], edges[3], 256), 1);
    assert_int_equal(BN_sub(edges[7], edges[6], edges[3]), 1);
    for (int i = 0; i < 8; i++) {
        encode(&t, edges[i], s);
        assert_false(judged(public, &t));
        encode(&t, r, edges[i]);
        assert_false(judged(public, &t));
        for (int j = 0; j < 8; j++) {
            encode(&t, edges[i], edges[j]);
            assert_false(judged(public, &t));
        }
        BN_set_negative(edges[i], 1);
        encode(&t, edges[i], s);
        assert_false(judged(public, &t));
        encode(&t, r, edges[i]);
        assert_false(judged(public, &t));
    }
    BN_set_negative(r, 1);
    encode(&t, r, s);
    assert_false(judged(public, &t));
    for (int i = 0; i < 8; i++)
        BN_free(edges[i]);
    BN_free(d), BN_free(k), BN_free(z), BN_free(r), BN_free(s), BN_free(v);
    EVP_PKEY_free(public);
}

/* Keys whose multiples are also G's: 1, 2, 3, -1, -2, a half, and powers of two where the windows of a table begin. */
static void keys_beside_the_generator(void **state)
{
    BIGNUM *k = scalar(), *z = scalar(), *r = number(), *s = number(), *d = number();
    struct tried t;

    (void)state;
    for (unsigned i = 0; i < 24; i++) {
        EVP_PKEY *public;

        assert_int_equal(BN_set_word(d, i < 6 ? i / 2 + 1 : 1), 1);
        if (i >= 6)
            assert_int_equal(BN_lshift(d, d, (int)(i / 2 - 2) * 7 * 4 % 253), 1);
        if (i % 2)
            assert_int_equal(BN_mod_sub(d, n, d, n, ctx), 1);
        public = key_of_scalar(d);
        sign_with(&t, d, k, z, r, s);
        assert_true(judged(public, &t));
        t.digest[31] ^= 1;
        assert_false(judged(public, &t));
        EVP_PKEY_free(public);
    }
    BN_free(k), BN_free(z), BN_free(r), BN_free(s), BN_free(d);
}

/* u1 = 0; u1 G = u2 Q, where addition is doubling; u1 G = -u2 Q, where the sum is no point; digests beyond n. */
static void special_sums(void **state)
{
    BIGNUM *d = scalar(), *k = scalar(), *z = word(0), *r = number(), *s = number();
    EVP_PKEY *public = key_of_scalar(d);
    struct tried t;

    (void)state;
    sign_with(&t, d, k, z, r, s);
    assert_true(judged(public, &t));
    assert_int_equal(BN_mod_mul(z, r, d, n, ctx), 1);
    sign_with(&t, d, k, z, r, s);
    assert_true(judged(public, &t));
    assert_int_equal(BN_sub(z, n, z), 1);
    set_digest(&t, z);
    for (unsigned i = 1; i < 4; i++) {
        assert_int_equal(BN_set_word(s, i), 1);
        encode(&t, r, s);
        assert_false(judged(public, &t));
    }
    BN_copy(z, n); /* as good as 0 */
    sign_with(&t, d, k, z, r, s);
    assert_true(judged(public, &t));
    memset(t.digest, 0xff, sizeof t.digest);
    assert_non_null(BN_bin2bn(t.digest, sizeof t.digest, z));
    sign_with(&t, d, k, z, r, s);
    assert_true(judged(public, &t));
    BN_free(d), BN_free(k), BN_free(z), BN_free(r), BN_free(s);
    EVP_PKEY_free(public);
}

/* The key under which (r, s) is a signature over z with this R: Q = (s R - z G) / r. */
static EVP_PKEY *key_for(const EC_POINT *point, const BIGNUM *r, const BIGNUM *s, const BIGNUM *z)
{
    BIGNUM *u = number(), *v = number(), *i = number();
    EC_POINT *q = EC_POINT_new(group);
    EVP_PKEY *k;

    assert_non_null(BN_mod_inverse(i, r, n, ctx));
    assert_int_equal(BN_mod_mul(u, z, i, n, ctx), 1);
    assert_int_equal(BN_mod_sub(u, n, u, n, ctx), 1);
    assert_int_equal(BN_mod_mul(v, s, i, n, ctx), 1);
    assert_int_equal(EC_POINT_mul(group, q, u, point, v, ctx), 1);
    k = key_of(q);
    EC_POINT_free(q);
    BN_free(u), BN_free(v), BN_free(i);
    return k;
}

/* The first point from x upwards. */
static void point_from(BIGNUM *x, EC_POINT *point)
{
    while (EC_POINT_set_compressed_coordinates(group, point, x, 0, ctx) != 1)
        assert_int_equal(BN_add_word(x, 1), 1);
}

/* x(R) between n and p: r is x - n. Such nobody ever met by chance. And the other way about: x small, where x + n would be below p, too. */
static void x_beyond_the_order(void **state)
{
    BIGNUM *x = BN_dup(n), *r = number(), *s = scalar(), *z = scalar();
    EC_POINT *point = EC_POINT_new(group);
    struct tried t;
    EVP_PKEY *public;

    (void)state;
    for (int i = 0; i < 6; i++) {
        assert_int_equal(BN_add_word(x, 1), 1);
        point_from(x, point);
        assert_true(BN_cmp(x, p) < 0);
        assert_int_equal(i < 3 ? BN_sub(r, x, n) : BN_copy(r, x) != NULL, 1);
        set_digest(&t, z);
        public = key_for(point, r, s, z);
        encode(&t, r, s);
        assert_true(judged(public, &t));
        assert_int_equal(BN_add(r, r, n), 1); /* beyond the range it is never good */
        encode(&t, r, s);
        assert_false(judged(public, &t));
        assert_int_equal(BN_sub(r, r, n) & BN_add_word(r, 1), 1);
        encode(&t, r, s);
        assert_false(judged(public, &t));
        EVP_PKEY_free(public);
        if (i == 2)
            assert_int_equal(BN_set_word(x, 1), 1);
    }
    EC_POINT_free(point);
    BN_free(x), BN_free(r), BN_free(s), BN_free(z);
}

/* The largest x there is, with r = x - n; and r + n = x + p, which is x again for who counts mod p only, where r is no signature of that point. */
static void x_beside_the_end_of_the_field(void **state)
{
    BIGNUM *x = BN_dup(p), *r = number(), *s = scalar(), *z = scalar();
    EC_POINT *point = EC_POINT_new(group);
    struct tried t;
    EVP_PKEY *public;

    (void)state;
    set_digest(&t, z);
    do
        assert_int_equal(BN_sub_word(x, 1), 1);
    while (EC_POINT_set_compressed_coordinates(group, point, x, 1, ctx) != 1);
    assert_int_equal(BN_sub(r, x, n), 1);
    public = key_for(point, r, s, z);
    encode(&t, r, s);
    assert_true(judged(public, &t));
    EVP_PKEY_free(public);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(BN_set_word(x, i * 1000), 1);
        point_from(x, point);
        assert_int_equal(BN_sub(r, p, n) & BN_add(r, r, x), 1);
        public = key_for(point, r, s, z);
        encode(&t, r, s);
        assert_false(judged(public, &t));
        EVP_PKEY_free(public);
    }
    EC_POINT_free(point);
    BN_free(x), BN_free(r), BN_free(s), BN_free(z);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_out_of_range),
        cmocka_unit_test(keys_beside_the_generator),
        cmocka_unit_test(special_sums),
        cmocka_unit_test(x_beyond_the_order),
        cmocka_unit_test(x_beside_the_end_of_the_field),
    };

    return cmocka_run_group_tests(tests, p256_set_up, p256_tear_down);
}
