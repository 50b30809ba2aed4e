/* Tests of base/x509.c: certificates and signing requests that openssl made, and ones altered from them. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/fsutil.h"
#include "base/timefmt.h"
#include "base/x509.h"

#define DIR "tests/vectors/x509/"

static void load(const char *name, const char *label, struct buf *der)
{
    BUF_AUTO pem = BUF_INIT(8192);
    char path[256];

    snprintf(path, sizeof path, DIR "%s", name);
    assert_int_equal(file_read(path, &pem, NULL), 0);
    assert_int_equal(pem_to_der(buf_span(&pem), label, der, NULL), 0);
}

static void names_of_subjects(void **state)
{
    BUF_AUTO der = BUF_INIT(4096), der2 = BUF_INIT(4096);

    (void)state;
    load("leaf.pem", "CERTIFICATE", &der);
    load("ca.pem", "CERTIFICATE", &der2);
    assert_true(cert_is_named(buf_span(&der), "p256"));
    assert_false(cert_is_named(buf_span(&der), "p25"));
    assert_false(cert_is_named(buf_span(&der), "p2567"));
    assert_false(cert_is_named(buf_span(&der), ""));
    assert_true(cert_is_named(buf_span(&der2), "ca"));
    assert_false(cert_is_named(span_of(der.data, der.len - 1), "p256"));
}

static void facts_of_a_leaf(void **state)
{
    BUF_AUTO der = BUF_INIT(4096), spki = BUF_INIT(4096), pub = BUF_INIT(4096);
    struct cert_facts f;
    uint8_t hash[SHA256_LEN];
    char time[TIME_TEXT];

    (void)state;
    load("leaf.pem", "CERTIFICATE", &der);
    load("p256.pub.pem", "PUBLIC KEY", &pub);
    assert_int_equal(cert_facts(buf_span(&der), &f, NULL), 0);
    sha256(der.data, der.len, hash);
    assert_memory_equal(f.sha256, hash, sizeof hash);
    assert_int_equal(cert_spki(buf_span(&der), &spki, NULL), 0);
    assert_true(span_eq(buf_span(&spki), buf_span(&pub)));
    sha256(pub.data, pub.len, hash);
    assert_memory_equal(f.spki_sha256, hash, sizeof hash);
    time_format(f.not_before, time);
    assert_string_equal(time, "2026-01-02T03:04:05.000000Z");
    time_format(f.not_after, time); /* a GeneralizedTime: UTCTime ends with 2049 */
    assert_string_equal(time, "2056-01-02T03:04:05.000000Z");
    assert_true(f.client_auth);
    assert_false(f.is_ca);
    assert_int_equal(f.n_uri, 1);
    assert_string_equal(f.uri[0], "spiffe://example.org/ci/a");
    assert_int_equal(f.n_dns, 2);
    assert_string_equal(f.dns[0], "ci.example.org");
    assert_string_equal(f.dns[1], "b.example.org");
}

static void purposes(void **state)
{
    static const struct {
        const char *name;
        bool client_auth, is_ca;
        unsigned n_dns;
    } rows[] = {{"leaf.pem", true, false, 2}, {"server.pem", false, false, 2}, {"bare.pem", false, false, 0}, {"ca.pem", false, true, 0}};

    (void)state;
    for (size_t n = 0; n < sizeof rows / sizeof *rows; n++) {
        BUF_AUTO der = BUF_INIT(4096);
        struct cert_facts f;

        load(rows[n].name, "CERTIFICATE", &der);
        assert_int_equal(cert_facts(buf_span(&der), &f, NULL), 0);
        assert_int_equal(f.client_auth, rows[n].client_auth);
        assert_int_equal(f.is_ca, rows[n].is_ca);
        assert_int_equal(f.n_dns, rows[n].n_dns);
    }
}

static void refuse(const struct buf *der)
{
    struct cert_facts f;
    struct err e = {0};
    BUF_AUTO spki = BUF_INIT(4096);

    assert_int_equal(cert_facts(buf_span(der), &f, &e), -1);
    assert_int_equal(e.code, ERR_BAD_CERTIFICATE);
    assert_int_equal(cert_spki(buf_span(der), &spki, NULL), -1);
}

static void refuses_what_is_not_one_der_certificate(void **state)
{
    BUF_AUTO der = BUF_INIT(4096), cut = BUF_INIT(4096), ber = BUF_INIT(4096), csr = BUF_INIT(4096);

    (void)state;
    load("leaf.pem", "CERTIFICATE", &der);
    load("p256.csr.pem", "CERTIFICATE REQUEST", &csr);
    refuse(&csr);
    buf_put(&cut, der.data, der.len);
    while (cut.len) {
        cut.len--;
        refuse(&cut);
    }
    /* The same certificate in indefinite length: BER, not DER. Its outer head is 30 82 LL LL. */
    buf_put(&ber, "\x30\x80", 2);
    buf_put(&ber, der.data + 4, der.len - 4);
    buf_put(&ber, "\0\0", 2);
    refuse(&ber);
    /* And with a length of one byte more than needed. */
    buf_clear(&ber);
    buf_put(&ber, "\x30\x83\0", 3);
    buf_put(&ber, der.data + 2, der.len - 2);
    refuse(&ber);
    buf_putc(&der, 0);
    refuse(&der);
}

static void signed_by(void **state)
{
    BUF_AUTO leaf = BUF_INIT(4096), ca = BUF_INIT(4096), ca2 = BUF_INIT(4096), right = BUF_INIT(4096), wrong = BUF_INIT(4096);
    struct err e = {0};

    (void)state;
    load("leaf.pem", "CERTIFICATE", &leaf);
    load("ca.pem", "CERTIFICATE", &ca);
    load("ca2.pem", "CERTIFICATE", &ca2);
    assert_int_equal(cert_spki(buf_span(&ca), &right, NULL), 0);
    assert_int_equal(cert_spki(buf_span(&ca2), &wrong, NULL), 0);
    assert_int_equal(cert_signed_by(buf_span(&leaf), buf_span(&right), &e), 0);
    assert_int_equal(cert_signed_by(buf_span(&leaf), buf_span(&wrong), &e), -1);
    assert_int_equal(e.code, ERR_BAD_CERTIFICATE);
    assert_int_equal(cert_signed_by(buf_span(&leaf), span_of("", 0), &e), -1);
    buf_putc(&right, 0);
    assert_int_equal(cert_signed_by(buf_span(&leaf), buf_span(&right), &e), -1);
    right.len--;
    leaf.data[leaf.len - 1] ^= 1;
    assert_int_equal(cert_signed_by(buf_span(&leaf), buf_span(&right), &e), -1);
}

static void requests(void **state)
{
    static const struct {
        const char *name;
        int result;
    } rows[] = {{"p256", 0}, {"p384", 0}, {"ed", 0}, {"rsa2048", 0}, {"rsa1024", -1}, {"k256", -1}, {"explicit", -1}};

    (void)state;
    for (size_t n = 0; n < sizeof rows / sizeof *rows; n++) {
        BUF_AUTO csr = BUF_INIT(4096), spki = BUF_INIT(4096), pub = BUF_INIT(4096);
        struct err e = {0};
        char name[64];

        snprintf(name, sizeof name, "%s.csr.pem", rows[n].name);
        load(name, "CERTIFICATE REQUEST", &csr);
        snprintf(name, sizeof name, "%s.pub.pem", rows[n].name);
        load(name, "PUBLIC KEY", &pub);
        assert_int_equal(csr_check(buf_span(&csr), &spki, &e), rows[n].result);
        assert_int_equal(csr_check(buf_span(&csr), NULL, NULL), rows[n].result);
        assert_int_equal(e.code, rows[n].result ? ERR_BAD_CERTIFICATE : ERR_NONE);
        if (rows[n].result)
            continue;
        assert_true(span_eq(buf_span(&spki), buf_span(&pub)));
        csr.data[csr.len - 1] ^= 1; /* not signed by its own key any more */
        assert_int_equal(csr_check(buf_span(&csr), NULL, &e), -1);
        csr.data[csr.len - 1] ^= 1;
        buf_putc(&csr, 0);
        assert_int_equal(csr_check(buf_span(&csr), NULL, &e), -1);
        for (csr.len--; csr.len;) {
            csr.len--;
            assert_int_equal(csr_check(buf_span(&csr), NULL, &e), -1);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(facts_of_a_leaf),
        cmocka_unit_test(names_of_subjects),
        cmocka_unit_test(purposes),
        cmocka_unit_test(refuses_what_is_not_one_der_certificate),
        cmocka_unit_test(signed_by),
        cmocka_unit_test(requests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
