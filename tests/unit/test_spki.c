/* Tests of base/spki.c: signatures by openssl, OpenSSH forms by ssh-keygen, the JWK of RFC 8037. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "base/enc.h"
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

static void load_spki(const char *key, struct buf *der)
{
    BUF_AUTO pem = BUF_INIT(4096);
    char name[64];

    snprintf(name, sizeof name, "%s.pub.pem", key);
    load(name, &pem);
    assert_int_equal(pem_to_der(buf_span(&pem), "PUBLIC KEY", der, NULL), 0);
}

static void verifies(void **state)
{
    static const struct {
        const char *key, *sig;
        enum err_code code;
    } rows[] = {
        {"p256", "p256.sig", ERR_NONE},
        {"p384", "p384.sig", ERR_NONE},
        {"ed", "ed.sig", ERR_NONE},
        {"rsa2048", "rsa2048.sig", ERR_NONE},
        {"rsa2048", "rsa2048-salt20.sig", ERR_SIGNATURE_INVALID},
        {"rsa2048", "rsa2048-pkcs1.sig", ERR_SIGNATURE_INVALID},
        {"p256", "p384.sig", ERR_SIGNATURE_INVALID},
        {"k256", "k256.sig", ERR_BAD_CERTIFICATE}, /* as long as P-256, and another curve */
        {"rsa1024", "rsa2048.sig", ERR_BAD_CERTIFICATE},
    };

    (void)state;
    for (size_t n = 0; n < sizeof rows / sizeof *rows; n++) {
        BUF_AUTO spki = BUF_INIT(4096), sig = BUF_INIT(4096);
        struct err e = {0};

        load_spki(rows[n].key, &spki);
        load(rows[n].sig, &sig);
        assert_int_equal(spki_verify(buf_span(&spki), MESSAGE, buf_span(&sig), &e), rows[n].code ? -1 : 0);
        assert_int_equal(e.code, rows[n].code);
        if (rows[n].code)
            continue;
        assert_int_equal(spki_verify(buf_span(&spki), span_str("the message"), buf_span(&sig), &e), -1);
        for (size_t i = 0; i < sig.len; i++) {
            sig.data[i] ^= (uint8_t)(1u << i % 8);
            assert_int_equal(spki_verify(buf_span(&spki), MESSAGE, buf_span(&sig), &e), -1);
            assert_int_equal(e.code, ERR_SIGNATURE_INVALID);
            sig.data[i] ^= (uint8_t)(1u << i % 8);
        }
        for (size_t len = 0; len < sig.len; len++)
            assert_int_equal(spki_verify(buf_span(&spki), MESSAGE, span_of(sig.data, len), &e), -1);
        buf_putc(&sig, 0);
        assert_int_equal(spki_verify(buf_span(&spki), MESSAGE, buf_span(&sig), &e), -1);
        buf_putc(&spki, 0);
        sig.len--;
        assert_int_equal(spki_verify(buf_span(&spki), MESSAGE, buf_span(&sig), &e), -1);
        assert_int_equal(e.code, ERR_BAD_CERTIFICATE);
    }
}

/* What openssl signed over the message verifies over its digest, by the rules of the scheme and by no others. */
static void verifies_digests(void **state)
{
    static const struct {
        const char *key, *sig, *algorithm, *scheme;
        enum err_code code;
    } rows[] = {
        {"p256", "p256.sig", "p256", "digest", ERR_NONE},
        {"p384", "p384.sig", "p384", "digest", ERR_NONE},
        {"rsa2048", "rsa2048.sig", "rsa-2048", "digest", ERR_NONE},
        {"rsa2048", "rsa2048-pkcs1.sig", "rsa-2048", "digest-pkcs1", ERR_NONE},
        {"rsa2048", "rsa2048-pkcs1.sig", "rsa-2048", "digest", ERR_SIGNATURE_INVALID},
        {"rsa2048", "rsa2048.sig", "rsa-2048", "digest-pkcs1", ERR_SIGNATURE_INVALID},
        {"rsa2048", "rsa2048-salt20.sig", "rsa-2048", "digest", ERR_SIGNATURE_INVALID},
        {"rsa2048", "rsa2048.sig", "rsa-3072", "digest", ERR_BAD_CERTIFICATE}, /* a shorter key than the scheme says */
        {"p256", "p256.sig", "p384", "digest", ERR_BAD_CERTIFICATE},
        {"p256", "p256.sig", "p256", "statement", ERR_BAD_CERTIFICATE},
        {"k256", "k256.sig", "p256", "digest", ERR_BAD_CERTIFICATE},
    };

    (void)state;
    for (size_t n = 0; n < sizeof rows / sizeof *rows; n++) {
        const struct scheme *s = scheme_find(rows[n].algorithm, rows[n].scheme);
        BUF_AUTO spki = BUF_INIT(4096), sig = BUF_INIT(4096);
        uint8_t digest[EVP_MAX_MD_SIZE];
        unsigned len;
        struct err e = {0};

        assert_non_null(s);
        load_spki(rows[n].key, &spki);
        load(rows[n].sig, &sig);
        assert_int_equal(EVP_Digest(MESSAGE.data, MESSAGE.len, digest, &len, s->hash_len == 48 ? EVP_sha384() : EVP_sha256(), NULL), 1);
        assert_int_equal(spki_verify_digest(buf_span(&spki), s, span_of(digest, len), buf_span(&sig), &e), rows[n].code ? -1 : 0);
        assert_int_equal(e.code, rows[n].code);
        if (rows[n].code)
            continue;
        assert_int_equal(spki_verify_digest(buf_span(&spki), s, span_of(digest, len - 1), buf_span(&sig), &e), -1);
        assert_int_equal(e.code, ERR_BAD_DIGEST);
        digest[len - 1] ^= 1;
        assert_int_equal(spki_verify_digest(buf_span(&spki), s, span_of(digest, len), buf_span(&sig), &e), -1);
        assert_int_equal(e.code, ERR_SIGNATURE_INVALID);
    }
}

static void tells_algorithms(void **state)
{
    static const struct {
        const char *key, *algorithm;
    } rows[] = {{"p256", "p256"}, {"p384", "p384"}, {"ed", "ed25519"}, {"rsa2048", "rsa-2048"}, {"k256", NULL}, {"rsa1024", NULL}, {"explicit", NULL}};
    const struct scheme *s;

    (void)state;
    for (size_t n = 0; n < sizeof rows / sizeof *rows; n++) {
        BUF_AUTO spki = BUF_INIT(4096);

        load_spki(rows[n].key, &spki);
        for (size_t i = 0; (s = scheme_at(i)); i++)
            assert_int_equal(spki_is(buf_span(&spki), s->algorithm), rows[n].algorithm && !strcmp(rows[n].algorithm, s->algorithm));
        assert_false(spki_is(span_of(spki.data, spki.len - 1), rows[n].algorithm ? rows[n].algorithm : "p256"));
    }
    assert_null(scheme_find("rsa-2048", "statement"));
    assert_null(scheme_find("ed25519", "digest"));
    assert_null(scheme_find("p256", "digest-pkcs1"));
    assert_int_equal(hash_length("sha256"), 32);
    assert_int_equal(hash_length("sha384"), 48);
    assert_int_equal(hash_length("sha1"), 0);
}

/* r and s keep their length, also with leading zeros; what is no signature of that curve has no such form. */
static void raw_form(void **state)
{
    static const uint8_t small[] = {0x30, 0x06, 0x02, 0x01, 0x01, 0x02, 0x01, 0x7f};
    const struct scheme *p256 = scheme_find("p256", "digest"), *p384 = scheme_find("p384", "digest");
    BUF_AUTO out = BUF_INIT(256), sig = BUF_INIT(256), rest = BUF_INIT(256);
    struct err e = {0};

    (void)state;
    assert_int_equal(ecdsa_raw(span_of(small, sizeof small), p256, &out, &e), 0);
    assert_int_equal(out.len, 64);
    assert_int_equal(out.data[31], 1);
    assert_int_equal(out.data[63], 0x7f);
    assert_int_equal(out.data[0] | out.data[32], 0);
    load("p384.sig", &sig);
    assert_int_equal(ecdsa_raw(buf_span(&sig), p384, &rest, &e), 0);
    assert_int_equal(rest.len, 96);
    assert_int_equal(ecdsa_raw(buf_span(&sig), p256, &rest, &e), -1); /* too large for that curve */
    assert_int_equal(ecdsa_raw(span_of(sig.data, sig.len - 1), p384, &rest, &e), -1);
    assert_int_equal(ecdsa_raw(buf_span(&sig), scheme_find("rsa-2048", "digest"), &rest, &e), -1);
    buf_putc(&sig, 0);
    assert_int_equal(ecdsa_raw(buf_span(&sig), p384, &rest, &e), -1);
}

static void openssh_form(void **state)
{
    static const char *const keys[] = {"p256", "p384", "ed", "rsa2048"};

    (void)state;
    for (size_t n = 0; n < sizeof keys / sizeof *keys; n++) {
        BUF_AUTO spki = BUF_INIT(4096), expected = BUF_INIT(4096), out = BUF_INIT(4096);
        char name[64];

        load_spki(keys[n], &spki);
        snprintf(name, sizeof name, "%s.ssh", keys[n]);
        load(name, &expected);
        assert_int_equal(spki_to_ssh(buf_span(&spki), &out, NULL), 0);
        assert_string_equal(buf_str(&out), buf_str(&expected));
    }
}

/* RFC 8037, appendix A.2: the public key there in the SPKI of RFC 8410. */
static void jwk_of_ed25519(void **state)
{
    static const char hex[] = "302a300506032b6570032100d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    uint8_t spki[44];
    BUF_AUTO out = BUF_INIT(1024);

    (void)state;
    assert_int_equal(hex_decode(hex, strlen(hex), spki, sizeof spki), 0);
    assert_int_equal(spki_to_jwk(span_of(spki, sizeof spki), &out, NULL), 0);
    assert_string_equal(buf_str(&out), "{\"crv\":\"Ed25519\",\"kty\":\"OKP\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}");
}

/* The coordinates stand at the end of the SPKI. */
static void jwk_of_curves(void **state)
{
    static const struct {
        const char *key, *crv;
        size_t bytes;
    } rows[] = {{"p256", "P-256", 32}, {"p384", "P-384", 48}};

    (void)state;
    for (size_t n = 0; n < sizeof rows / sizeof *rows; n++) {
        BUF_AUTO spki = BUF_INIT(4096), out = BUF_INIT(4096), expected = BUF_INIT(4096);
        size_t b = rows[n].bytes;

        load_spki(rows[n].key, &spki);
        buf_printf(&expected, "{\"crv\":\"%s\",\"kty\":\"EC\",\"x\":\"", rows[n].crv);
        b64url_encode(&expected, spki.data + spki.len - 2 * b, b);
        buf_puts(&expected, "\",\"y\":\"");
        b64url_encode(&expected, spki.data + spki.len - b, b);
        buf_puts(&expected, "\"}");
        assert_int_equal(spki_to_jwk(buf_span(&spki), &out, NULL), 0);
        assert_string_equal(buf_str(&out), buf_str(&expected));
    }
}

static void jwk_of_rsa(void **state)
{
    static const char head[] = "{\"e\":\"AQAB\",\"kty\":\"RSA\",\"n\":\"";
    BUF_AUTO spki = BUF_INIT(4096), out = BUF_INIT(4096);

    (void)state;
    load_spki("rsa2048", &spki);
    assert_int_equal(spki_to_jwk(buf_span(&spki), &out, NULL), 0);
    assert_memory_equal(out.data, head, strlen(head));
    assert_int_equal(out.len, strlen(head) + 342 + 2); /* 256 bytes without padding */
}

static void no_form_for_other_keys(void **state)
{
    static const char *const keys[] = {"k256", "rsa1024", "explicit"};

    (void)state;
    for (size_t n = 0; n < sizeof keys / sizeof *keys; n++) {
        BUF_AUTO spki = BUF_INIT(4096), out = BUF_INIT(4096);
        struct err e = {0};

        load_spki(keys[n], &spki);
        assert_int_equal(spki_to_jwk(buf_span(&spki), &out, &e), -1);
        assert_int_equal(e.code, ERR_BAD_CERTIFICATE);
        assert_int_equal(spki_to_ssh(buf_span(&spki), &out, NULL), -1);
        assert_int_equal(spki_to_jwk(span_of(spki.data, spki.len - 1), &out, NULL), -1);
    }
    assert_int_equal(spki_to_ssh(span_of("", 0), NULL, NULL), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(verifies),       cmocka_unit_test(openssh_form), cmocka_unit_test(jwk_of_ed25519),
        cmocka_unit_test(jwk_of_curves),  cmocka_unit_test(jwk_of_rsa),   cmocka_unit_test(no_form_for_other_keys),
        cmocka_unit_test(verifies_digests), cmocka_unit_test(tells_algorithms), cmocka_unit_test(raw_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
