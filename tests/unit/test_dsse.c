/* Envelopes and what they vouch for: reading, verification, expectations. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <string.h>

#include "base/enc.h"
#include "base/timefmt.h"
#include "base/x509.h"
#include "client/dsse.h"
#include "client/verify.h"

#define HEX64 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define PREDICATE \
    "\"app\":\"demo\",\"channel\":\"stable\",\"environment\":\"production\",\"instance\":\"i\",\"issued\":\"2026-03-03T08:09:10.123456Z\"," \
    "\"key\":{\"name\":\"ota\",\"version\":1},\"log_head\":{\"hash\":\"" HEX64 "\",\"seq\":41},\"name\":\"app.zip\"," \
    "\"request_id\":\"r\",\"version\":\"1.0.0\""
#define STATEMENT(more) \
    "{\"_type\":\"https://in-toto.io/Statement/v1\",\"predicate\":{" PREDICATE more "},\"predicateType\":\"https://kmsd.dev/release/v1\"," \
    "\"subject\":[{\"digest\":{\"sha256\":\"" HEX64 "\"},\"name\":\"app.zip\"}]}"

static EVP_PKEY *key;
static uint8_t spki[256];
static size_t spki_len;

static int make_key(void **state)
{
    unsigned char *p = spki;

    (void)state;
    key = EVP_EC_gen("P-256");
    spki_len = (size_t)i2d_PUBKEY(key, &p);
    return key ? 0 : -1;
}

static int drop_key(void **state)
{
    (void)state;
    EVP_PKEY_free(key);
    return 0;
}

/* An envelope over the payload, signed with the key. */
static void make_envelope(const char *payload, struct buf *out)
{
    char pae[4096], keyid[SHA256_HEX];
    uint8_t sig[128];
    size_t sig_len = sizeof(sig);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    int n = snprintf(pae, sizeof(pae), "DSSEv1 28 application/vnd.in-toto+json %zu %s", strlen(payload), payload);

    assert_int_equal(EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key), 1);
    assert_int_equal(EVP_DigestSign(ctx, sig, &sig_len, (const unsigned char *)pae, (size_t)n), 1);
    EVP_MD_CTX_free(ctx);
    sha256_hex(spki, spki_len, keyid);
    buf_puts(out, "{\"payload\":\"");
    b64_encode(out, payload, strlen(payload));
    buf_printf(out, "\",\"payloadType\":\"application/vnd.in-toto+json\",\"signatures\":[{\"keyid\":\"%s\",\"sig\":\"", keyid);
    b64_encode(out, sig, sig_len);
    buf_puts(out, "\"}]}\n");
}

static struct kms_expect expect(void)
{
    return (struct kms_expect){.sha256 = HEX64, .size = 7, .now = 0};
}

static int verify(const char *payload, const struct kms_expect *x, struct kms_release *r, struct err *e)
{
    BUF_AUTO envelope = BUF_INIT(16384);

    make_envelope(payload, &envelope);
    return verify_envelope(buf_span(&envelope), span_of(spki, spki_len), x, r, e);
}

static void test_good(void **state)
{
    struct kms_expect x = expect();
    struct kms_release r;
    struct err e = {0};

    (void)state;
    x.app = "demo";
    x.channel = "stable";
    x.version = "1.0.0";
    x.name = "app.zip";
    assert_int_equal(verify(STATEMENT(",\"size\":7"), &x, &r, &e), 0);
    assert_string_equal(r.app, "demo");
    assert_int_equal(r.size, 7);
    assert_int_equal(r.log_seq, 41);
    assert_int_equal(r.key_version, 1);
    assert_string_equal(r.issued, "2026-03-03T08:09:10.123456Z");
}

static void test_pae(void **state)
{
    BUF_AUTO envelope = BUF_INIT(16384), pae = BUF_INIT(4096);
    DSSE_AUTO d = {0};
    struct err e = {0};

    (void)state;
    make_envelope("{}", &envelope);
    assert_int_equal(dsse_parse(buf_span(&envelope), &d, &e), 0);
    dsse_pae(&d, &pae);
    assert_string_equal(buf_str(&pae), "DSSEv1 28 application/vnd.in-toto+json 2 {}");
}

static void test_expectations_refuse(void **state)
{
    struct kms_expect wrong[6];
    struct kms_release r;

    (void)state;
    for (size_t i = 0; i < 6; i++)
        wrong[i] = expect();
    wrong[0].app = "other";
    wrong[1].channel = "beta";
    wrong[2].version = "1.0.1";
    wrong[3].name = "x";
    wrong[4].size = 8;
    wrong[5].sha256 = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
    for (size_t i = 0; i < 6; i++) {
        struct err e = {0};

        assert_int_equal(verify(STATEMENT(",\"size\":7"), &wrong[i], &r, &e), -1);
        assert_true(e.detail[0]);
    }
}

static void test_development_needs_consent(void **state)
{
    char text[2048];
    const char *at;
    struct kms_expect x = expect();
    struct kms_release r;
    struct err e = {0};

    (void)state;
    at = strstr(STATEMENT(""), "production");
    snprintf(text, sizeof(text), "%.*sdevelopment%s", (int)(at - STATEMENT("")), STATEMENT(""), at + strlen("production"));
    assert_int_equal(verify(text, &x, &r, &e), -1);
    assert_non_null(strstr(e.detail, "--allow-dev"));
    x.allow_development = true;
    assert_int_equal(verify(text, &x, &r, &e), 0);
}

static void test_expiry(void **state)
{
    struct kms_expect x = expect();
    struct kms_release r;
    struct err e = {0};

    (void)state;
    assert_int_equal(verify(STATEMENT(",\"expires\":\"1970-01-01T00:00:01.000000Z\""), &x, &r, &e), 0);
    x.now = 2 * TIME_SECOND;
    assert_int_equal(verify(STATEMENT(",\"expires\":\"1970-01-01T00:00:01.000000Z\""), &x, &r, &e), -1);
}

static void test_strict_payload(void **state)
{
    static const char *const bad[] = {
        STATEMENT(",\"extra\":1"), STATEMENT(",\"size\":1.5"), STATEMENT(",\"size\":-1"), STATEMENT(",\"size\":9007199254740992"),
        STATEMENT(",\"app\":\"again\""), "{}", "[]", "", "{\"_type\":\"x\"}",
    };
    struct kms_expect x = expect();
    struct kms_release r;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct err e = {0};

        assert_int_equal(verify(bad[i], &x, &r, &e), -1);
    }
}

static void test_source(void **state)
{
    struct kms_expect x = expect();
    struct kms_release r;
    struct err e = {0};

    (void)state;
    assert_int_equal(verify(STATEMENT(",\"source_claimed\":\"git abc\""), &x, &r, &e), 0);
    assert_string_equal(r.source, "git abc");
    assert_int_equal(verify(STATEMENT(",\"source\":{\"b\":1,\"a\":\"x\"}"), &x, &r, &e), 0);
    assert_string_equal(r.source, "{\"a\":\"x\",\"b\":1}");
}

/* Every single byte of the envelope matters, or is refused. */
static void test_every_bit_counts(void **state)
{
    BUF_AUTO envelope = BUF_INIT(16384);
    struct kms_expect x = expect();
    struct kms_release r;
    struct err e = {0};

    (void)state;
    make_envelope(STATEMENT(""), &envelope);
    for (size_t i = 0; i + 1 < envelope.len; i++) {
        envelope.data[i] ^= 1;
        assert_int_equal(verify_envelope(buf_span(&envelope), span_of(spki, spki_len), &x, &r, &e), -1);
        envelope.data[i] ^= 1;
    }
    assert_int_equal(verify_envelope(buf_span(&envelope), span_of(spki, spki_len), &x, &r, &e), 0);
}

static void test_other_key(void **state)
{
    BUF_AUTO envelope = BUF_INIT(16384);
    EVP_PKEY *other = EVP_EC_gen("P-256");
    uint8_t der[256];
    unsigned char *p = der;
    struct kms_expect x = expect();
    struct kms_release r;
    struct err e = {0};

    (void)state;
    make_envelope(STATEMENT(""), &envelope);
    assert_int_equal(verify_envelope(buf_span(&envelope), span_of(der, (size_t)i2d_PUBKEY(other, &p)), &x, &r, &e), -1);
    assert_non_null(strstr(e.detail, "not with the given one"));
    EVP_PKEY_free(other);
}

/* The library's own call: keys in PEM and DER, and a slug that tells what is wrong. */
static void test_library_call(void **state)
{
    BUF_AUTO envelope = BUF_INIT(16384), pem = BUF_INIT(4096);
    struct kms_expect x = KMS_EXPECT_INIT;
    struct kms_release r;
    struct kms_error e;

    (void)state;
    make_envelope(STATEMENT(",\"size\":7"), &envelope);
    der_to_pem(&pem, "PUBLIC KEY", span_of(spki, spki_len));
    assert_int_equal(kms_verify(envelope.data, envelope.len, spki, spki_len, &x, &r, &e), -1);
    assert_int_equal(e.status, KMS_USAGE);
    assert_string_equal(e.slug, "usage");
    x.sha256 = HEX64;
    assert_int_equal(kms_verify(envelope.data, envelope.len, spki, spki_len, &x, &r, &e), 0);
    assert_int_equal(kms_verify(envelope.data, envelope.len, pem.data, pem.len, &x, &r, &e), 0);
    assert_string_equal(r.app, "demo");
    x.size = 8;
    assert_int_equal(kms_verify(envelope.data, envelope.len, spki, spki_len, &x, &r, &e), -1);
    assert_string_equal(e.slug, "bad-digest");
    assert_int_equal(kms_verify(envelope.data, envelope.len, pem.data, pem.len - 30, &x, &r, &e), -1);
    assert_int_equal(kms_verify(envelope.data, envelope.len, NULL, 0, &x, &r, &e), -1);
    assert_string_equal(e.slug, "bad-request");
    x = (struct kms_expect){.sha256 = HEX64, .size = -1};
    buf_clear(&envelope);
    make_envelope(STATEMENT(",\"expires\":\"2026-03-04T00:00:00.000000Z\""), &envelope);
    x.now = 1;
    assert_int_equal(kms_verify(envelope.data, envelope.len, spki, spki_len, &x, &r, &e), 0);
    x.now = 0; /* the clock of this machine, which is later */
    assert_int_equal(kms_verify(envelope.data, envelope.len, spki, spki_len, &x, &r, &e), -1);
    assert_string_equal(e.slug, "forbidden");
    envelope.data[30] ^= 1;
    assert_int_equal(kms_verify(envelope.data, envelope.len, spki, spki_len, &x, &r, &e), -1);
    assert_string_equal(e.slug, "signature-invalid");
    assert_string_equal(e.title, "");
}

#define HEAD "{\"payload\":\"e30=\",\"payloadType\":\"application/vnd.in-toto+json\",\"signatures\":"
#define SIGNATURE(sig, more) "{\"keyid\":\"" HEX64 "\",\"sig\":\"" sig "\"" more "}"

static void test_envelope_shape(void **state)
{
    static const char *const bad[] = {
        "",
        "{}",
        "{\"payload\":\"e30=\",\"payloadType\":\"text/plain\",\"signatures\":[" SIGNATURE("AA==", "") "]}",
        HEAD "[]}",
        HEAD "[" SIGNATURE("AA==", "") "," SIGNATURE("AA==", "") "]}",
        "{\"payload\":\"e30\",\"payloadType\":\"application/vnd.in-toto+json\",\"signatures\":[" SIGNATURE("AA==", "") "]}",
        HEAD "[{\"keyid\":\"abc\",\"sig\":\"AA==\"}]}",
        HEAD "[" SIGNATURE("", "") "]}",
        HEAD "[" SIGNATURE("AA==", ",\"cert\":\"x\"") "]}",
        HEAD "[" SIGNATURE("AA==", "") "],\"payload\":\"e30=\"}",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        DSSE_AUTO d = {0};
        struct err e = {0};

        assert_int_equal(dsse_parse(span_str(bad[i]), &d, &e), -1);
        assert_non_null(strstr(e.detail, "envelope"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),          cmocka_unit_test(test_pae),       cmocka_unit_test(test_expectations_refuse),
        cmocka_unit_test(test_development_needs_consent), cmocka_unit_test(test_expiry), cmocka_unit_test(test_strict_payload),
        cmocka_unit_test(test_source),        cmocka_unit_test(test_every_bit_counts), cmocka_unit_test(test_other_key),
        cmocka_unit_test(test_library_call),
        cmocka_unit_test(test_envelope_shape),
    };

    return cmocka_run_group_tests(tests, make_key, drop_key);
}
