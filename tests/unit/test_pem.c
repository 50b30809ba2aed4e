/* Tests of base/pem.c. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/x509.h"

#define BEGIN "-----BEGIN PUBLIC KEY-----"
#define END "-----END PUBLIC KEY-----"

static void there_and_back(void **state)
{
    static const size_t lengths[] = {1, 2, 3, 47, 48, 49, 96, 97, 1000};
    uint8_t data[1000];

    (void)state;
    for (size_t n = 0; n < sizeof data; n++)
        data[n] = (uint8_t)(n * 7);
    for (size_t n = 0; n < sizeof lengths / sizeof *lengths; n++) {
        BUF_AUTO pem = BUF_INIT(4096), der = BUF_INIT(1000), small = BUF_INIT(lengths[n]);

        der_to_pem(&pem, "CERTIFICATE", span_of(data, lengths[n]));
        assert_int_equal(buf_ok(&pem), 0);
        assert_int_equal(pem_to_der(buf_span(&pem), "CERTIFICATE", &der, NULL), 0);
        assert_true(span_eq(buf_span(&der), span_of(data, lengths[n])));
        assert_int_equal(pem_to_der(buf_span(&pem), "PUBLIC KEY", &der, NULL), -1);
        der_to_pem(&small, "CERTIFICATE", span_of(data, lengths[n]));
        assert_int_equal(buf_ok(&small), -1);
    }
}

static void the_form(void **state)
{
    BUF_AUTO pem = BUF_INIT(4096);
    static const uint8_t zeros[49];

    (void)state;
    der_to_pem(&pem, "PUBLIC KEY", span_of(zeros, sizeof zeros));
    assert_string_equal(buf_str(&pem), BEGIN "\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\nAA==\n" END "\n");
}

static int read_text(const char *text, size_t len)
{
    BUF_AUTO der = BUF_INIT(64);
    struct err e = {0};
    int r = pem_to_der(span_of(text, len), "PUBLIC KEY", &der, &e);

    assert_int_equal(e.code, r ? ERR_BAD_CERTIFICATE : ERR_NONE);
    return r;
}

static void space_around_it_only(void **state)
{
    static const char *const good[] = {BEGIN "\nAAAA\n" END, BEGIN "\r\nAA\r\nAA\r\n" END "\r\n", " \t\r\n" BEGIN "\nAAAA\n" END "\n \n"};
    static const char *const bad[] = {
        "", " ", BEGIN, END, BEGIN "\n" END, BEGIN "\nAAAA\n", "AAAA\n" END, "x" BEGIN "\nAAAA\n" END, BEGIN "\nAAAA\n" END "x", BEGIN "\nAAA\n" END,
        BEGIN "\nAA AA\n" END, BEGIN "\nAAAA\n" END "\n" BEGIN "\nAAAA\n" END, BEGIN "\nProc-Type: 4,ENCRYPTED\n\nAAAA\n" END,
        "-----BEGIN CERTIFICATE-----\nAAAA\n" END, BEGIN "\nAAAA\n-----END CERTIFICATE-----", "-----BEGIN PUBLIC KEY----"};

    (void)state;
    for (size_t n = 0; n < sizeof good / sizeof *good; n++)
        assert_int_equal(read_text(good[n], strlen(good[n])), 0);
    for (size_t n = 0; n < sizeof bad / sizeof *bad; n++)
        assert_int_equal(read_text(bad[n], strlen(bad[n])), -1);
    assert_int_equal(read_text(good[0], strlen(good[0]) + 1), -1); /* a NUL behind it */
    assert_int_equal(read_text("\0" BEGIN "\nAAAA\n" END, sizeof(BEGIN "\nAAAA\n" END)), -1);
    assert_int_equal(read_text(BEGIN "\nAA\0AA\n" END, sizeof(BEGIN "\nAA\0AA\n" END) - 1), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(there_and_back), cmocka_unit_test(the_form), cmocka_unit_test(space_around_it_only)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
