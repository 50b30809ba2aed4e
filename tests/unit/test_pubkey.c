/* Tests of audit/verify/pubkey.c: one opened key verifies signatures made by openssl, again and again, good and bad ones by turns, in several threads. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "audit/verify/pubkey.h"
#include "base/fsutil.h"
#include "base/x509.h"

#define DIR "tests/vectors/x509/"

static const struct span MESSAGE = {(const uint8_t *)"the message\n", 12};

static void load(const char *name, struct buf *out)
{
    char path[256];

    snprintf(path, sizeof path, DIR "%s", name);
    assert_int_equal(file_read(path, out, NULL), 0);
}

static struct pubkey *open_key(const char *key, const char *algorithm, const char *scheme)
{
    BUF_AUTO pem = BUF_INIT(4096), spki = BUF_INIT(4096);
    char name[64];

    snprintf(name, sizeof name, "%s.pub.pem", key);
    load(name, &pem);
    assert_int_equal(pem_to_der(buf_span(&pem), "PUBLIC KEY", &spki, NULL), 0);
    return pubkey_open(buf_span(&spki), scheme_find(algorithm, scheme), NULL);
}

static const struct row {
    const char *key, *sig, *algorithm, *scheme;
    bool good;
} ROWS[] = {
    {"p256", "p256.sig", "p256", "statement", true},
    {"p384", "p384.sig", "p384", "statement", true},
    {"ed", "ed.sig", "ed25519", "statement", true},
    {"p256", "p256.sig", "p256", "digest", true},
    {"p384", "p384.sig", "p384", "digest", true},
    {"rsa2048", "rsa2048.sig", "rsa-2048", "digest", true},
    {"rsa2048", "rsa2048-pkcs1.sig", "rsa-2048", "digest-pkcs1", true},
    {"rsa2048", "rsa2048-pkcs1.sig", "rsa-2048", "digest", false},
    {"rsa2048", "rsa2048.sig", "rsa-2048", "digest-pkcs1", false},
    {"rsa2048", "rsa2048-salt20.sig", "rsa-2048", "digest", false},
    {"p256", "p384.sig", "p256", "statement", false},
    {"ed", "p256.sig", "ed25519", "statement", false},
};

/* What the key of that row takes: the message, or its digest. */
static struct span signed_by(const struct row *row, uint8_t digest[static EVP_MAX_MD_SIZE])
{
    unsigned len;

    if (!strcmp(row->scheme, "statement"))
        return MESSAGE;
    assert_int_equal(EVP_Digest(MESSAGE.data, MESSAGE.len, digest, &len, strcmp(row->algorithm, "p384") ? EVP_sha256() : EVP_sha384(), NULL), 1);
    return span_of(digest, len);
}

static void one_row(const struct row *row)
{
    struct pubkey *k = open_key(row->key, row->algorithm, row->scheme);
    uint8_t digest[EVP_MAX_MD_SIZE];
    struct span bytes = signed_by(row, digest);
    BUF_AUTO sig = BUF_INIT(4096);

    load(row->sig, &sig);
    assert_non_null(k);
    for (unsigned n = 0; n < 3; n++) {
        assert_int_equal(pubkey_verify(k, n % 2, bytes, buf_span(&sig)), row->good);
        sig.data[sig.len / 2] ^= 1;
        assert_false(pubkey_verify(k, n % 2, bytes, buf_span(&sig)));
        sig.data[sig.len / 2] ^= 1;
        assert_false(pubkey_verify(k, n % 2, span_of(bytes.data, bytes.len - 1), buf_span(&sig)));
        assert_false(pubkey_verify(k, n % 2, bytes, span_of(sig.data, sig.len - 1)));
        assert_false(pubkey_verify(k, n % 2, bytes, span_of(sig.data, 0)));
        assert_false(pubkey_verify(k, n % 2, span_of(NULL, 0), buf_span(&sig)));
    }
    pubkey_close(k);
}

static void verifies_again_and_again(void **state)
{
    (void)state;
    for (size_t n = 0; n < sizeof ROWS / sizeof *ROWS; n++)
        one_row(&ROWS[n]);
}

static void refuses_other_keys(void **state)
{
    static const struct row rows[] = {
        {"p256", "", "p384", "statement", false}, {"k256", "", "p256", "digest", false}, {"rsa2048", "", "rsa-3072", "digest", false},
        {"explicit", "", "p256", "statement", false}, {"p256", "", "p256", "no such scheme", false},
    };

    (void)state;
    for (size_t n = 0; n < sizeof rows / sizeof *rows; n++)
        assert_null(open_key(rows[n].key, rows[n].algorithm, rows[n].scheme));
    pubkey_close(NULL);
}

struct part {
    pthread_t id;
    struct pubkey *key;
    struct span sig;
    unsigned number, wrong;
};

static void *verify_many(void *arg)
{
    struct part *p = arg;

    for (unsigned n = 0; n < 200; n++) {
        p->wrong += !pubkey_verify(p->key, p->number, MESSAGE, p->sig);
        p->wrong += pubkey_verify(p->key, p->number, span_str("another message"), p->sig);
    }
    return NULL;
}

static void threads_share_a_key(void **state)
{
    struct part part[4] = {{0}};
    struct pubkey *k = open_key("p256", "p256", "statement");
    BUF_AUTO sig = BUF_INIT(4096);

    (void)state;
    load("p256.sig", &sig);
    for (unsigned n = 0; n < 4; n++) {
        part[n] = (struct part){.key = k, .sig = buf_span(&sig), .number = n ? n : PUBKEY_THREADS - 1};
        assert_int_equal(pthread_create(&part[n].id, NULL, verify_many, &part[n]), 0);
    }
    for (unsigned n = 0; n < 4; n++) {
        assert_int_equal(pthread_join(part[n].id, NULL), 0);
        assert_int_equal(part[n].wrong, 0);
    }
    pubkey_close(k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(verifies_again_and_again),
        cmocka_unit_test(refuses_other_keys),
        cmocka_unit_test(threads_share_a_key),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
