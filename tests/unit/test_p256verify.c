/* Tests of kmsd/token/p256verify.c: every verdict is held against OpenSSL's own. KMS_P256_ROUNDS sets how many random signatures are tried. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "tests/unit/p256.h"

#define ROUNDS 4000
#define PER_KEY 20  /* signatures before another key */
#define TABLES 25   /* every so many keys one gets a table */

static size_t rounds(void)
{
    const char *text = getenv("KMS_P256_ROUNDS");
    uint64_t value = ROUNDS;

    if (text)
        assert_int_equal(num_parse_u64(text, strlen(text), 1, 100000000, &value), 0);
    return value;
}

static void sign_random(EVP_PKEY_CTX *c, struct tried *t)
{
    t->len = sizeof t->signature;
    assert_int_equal(RAND_bytes(t->digest, sizeof t->digest), 1);
    assert_int_equal(EVP_PKEY_sign(c, t->signature, &t->len, t->digest, sizeof t->digest), 1);
}

/* One of: left alone, a bit of the signature or of the digest turned, cut short. */
static void spoil(struct tried *t, unsigned how)
{
    uint8_t at[2];

    assert_int_equal(RAND_bytes(at, sizeof at), 1);
    if (how == 1)
        t->signature[at[0] % t->len] ^= (uint8_t)(1u << at[1] % 8);
    else if (how == 2)
        t->digest[at[0] % sizeof t->digest] ^= (uint8_t)(1u << at[1] % 8);
    else if (how == 3)
        t->len -= 1 + at[0] % 4;
}

static void random_signatures_are_judged_as_by_openssl(void **state)
{
    size_t left = rounds(), good = 0, bad = 0;

    (void)state;
    for (unsigned keys = 0; left; keys++) {
        EVP_PKEY *pair = EVP_EC_gen("P-256"), *other = EVP_EC_gen("P-256");
        struct p256_key *k = p256_key_new(pair), *wrong = p256_key_new(other);
        EVP_PKEY_CTX *c = EVP_PKEY_CTX_new(pair, NULL);
        struct p256_item items[PER_KEY];
        struct tried t[PER_KEY];
        size_t some = left < PER_KEY ? left : PER_KEY;

        assert_int_equal(EVP_PKEY_sign_init(c), 1);
        if (keys % TABLES == 0)
            assert_int_equal(p256_key_table(k), 0);
        for (size_t i = 0; i < some; i++) {
            sign_random(c, &t[i]);
            spoil(&t[i], i % 2 ? 0 : (unsigned)(i / 2 % 5));
            items[i] = item_of(i % 2 == 0 && i / 2 % 5 == 4 ? wrong : k, &t[i]);
        }
        p256_batch_verify(batch, items, some);
        for (size_t i = 0; i < some; i++) {
            bool want = openssl_says(items[i].key == k ? pair : other, &t[i]);

            assert_int_equal(items[i].good, want);
            assert_true(want || i % 2 == 0);
            want ? good++ : bad++;
        }
        left -= some;
        EVP_PKEY_CTX_free(c);
        p256_key_free(k);
        p256_key_free(wrong);
        EVP_PKEY_free(pair);
        EVP_PKEY_free(other);
    }
    assert_true(good > bad && bad > 0);
}

/* Every bit of a signature and of its digest; every length; bytes after it; encodings that are BER only. */
static void each_bit_counts(void **state)
{
    BIGNUM *d = scalar(), *k = scalar(), *z = scalar(), *r = number(), *s = number();
    EVP_PKEY *public = key_of_scalar(d);
    struct p256_key *key = p256_key_new(public);
    struct tried good, t;

    (void)state;
    sign_with(&good, d, k, z, r, s);
    assert_int_equal(p256_key_table(key), 0);
    assert_true(we_say(key, &good));
    for (size_t bit = 0; bit < good.len * 8; bit++) {
        t = good;
        t.signature[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(we_say(key, &t), openssl_says(public, &t));
        assert_false(we_say(key, &t));
    }
    for (size_t bit = 0; bit < sizeof t.digest * 8; bit++) {
        t = good;
        t.digest[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(we_say(key, &t) || openssl_says(public, &t));
    }
    for (size_t len = 0; len <= SIGNATURE_MAX; len++) {
        t = good;
        memset(t.signature + good.len, 0, sizeof t.signature - good.len);
        t.len = len;
        assert_int_equal(we_say(key, &t), len == good.len);
        assert_int_equal(openssl_says(public, &t), len == good.len);
    }
    t = good;
    memmove(t.signature + 3, t.signature + 2, good.len - 2);
    t.signature[2] = t.signature[1];
    t.signature[1] = 0x81; /* the length in a long form */
    t.len++;
    assert_false(we_say(key, &t) || openssl_says(public, &t));
    p256_key_free(key);
    EVP_PKEY_free(public);
    BN_free(d), BN_free(k), BN_free(z), BN_free(r), BN_free(s);
}

/* Bad ones at any place do not hurt their neighbours, nor do these help them; a batch that is too long has no good one. */
static void neighbours_do_not_matter(void **state)
{
    struct p256_item items[P256_BATCH_MAX + 1];
    struct tried t[P256_BATCH_MAX + 1];
    EVP_PKEY *pair[3];
    struct p256_key *k[3];
    uint8_t dice[P256_BATCH_MAX];
    struct tried zero = {.len = 8, .signature = {0x30, 6, 2, 1, 1, 2, 1, 0}}; /* s = 0 */

    (void)state;
    for (int i = 0; i < 3; i++) {
        pair[i] = EVP_EC_gen("P-256");
        k[i] = p256_key_new(pair[i]);
    }
    assert_int_equal(p256_key_table(k[0]), 0);
    assert_true(p256_key_has_table(k[0]) && !p256_key_has_table(k[1]));
    for (size_t i = 0; i <= P256_BATCH_MAX; i++) {
        EVP_PKEY_CTX *c = EVP_PKEY_CTX_new(pair[i % 3], NULL);

        assert_int_equal(EVP_PKEY_sign_init(c), 1);
        sign_random(c, &t[i]);
        EVP_PKEY_CTX_free(c);
        items[i] = item_of(k[i % 3], &t[i]);
    }
    p256_batch_verify(batch, items, P256_BATCH_MAX + 1);
    for (size_t i = 0; i <= P256_BATCH_MAX; i++)
        assert_false(items[i].good);
    for (size_t len = 0; len <= P256_BATCH_MAX; len++) {
        assert_int_equal(RAND_bytes(dice, sizeof dice), 1);
        for (size_t i = 0; i < len; i++) {
            items[i] = item_of(dice[i] % 8 == 1 ? k[(i + 1) % 3] : dice[i] % 8 == 5 ? NULL : k[i % 3], &t[i]);
            if (dice[i] % 8 == 2)
                items[i].signature.len--;
            if (dice[i] % 8 == 3)
                items[i].digest = span_of(t[i + 1].digest, P256_DIGEST_LEN);
            if (dice[i] % 8 == 4)
                items[i].digest.len--;
            if (dice[i] % 8 == 6)
                items[i].signature = span_of(zero.signature, zero.len);
            items[i].good = dice[i] & 64;
        }
        p256_batch_verify(batch, items, len);
        for (size_t i = 0; i < len; i++)
            assert_int_equal(items[i].good, dice[i] % 8 == 0 || dice[i] % 8 == 7);
    }
    for (int i = 0; i < 3; i++) {
        p256_key_free(k[i]);
        EVP_PKEY_free(pair[i]);
    }
}

static void only_keys_of_the_curve(void **state)
{
    EVP_PKEY *p384 = EVP_EC_gen("P-384"), *k1 = EVP_EC_gen("secp256k1"), *ed = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");

    (void)state;
    assert_null(p256_key_new(p384));
    assert_null(p256_key_new(k1));
    assert_null(p256_key_new(ed));
    EVP_PKEY_free(p384);
    EVP_PKEY_free(k1);
    EVP_PKEY_free(ed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_signatures_are_judged_as_by_openssl),
        cmocka_unit_test(each_bit_counts),
        cmocka_unit_test(neighbours_do_not_matter),
        cmocka_unit_test(only_keys_of_the_curve),
    };

    return cmocka_run_group_tests(tests, p256_set_up, p256_tear_down);
}
