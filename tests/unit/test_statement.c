/* The shape check of the signing lanes, byte by byte. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "kmsd/token/statement.h"

static void put_pae(struct buf *b, const char *body)
{
    buf_printf(b, "DSSEv1 28 application/vnd.in-toto+json %zu %s", strlen(body), body);
}

static void test_good(void **state)
{
    static const char *const bodies[] = {"{}", "{\"a\":1}", "{ \xc3\xa9 }", "{\"nested\":{}}"};

    (void)state;
    for (size_t n = 0; n < sizeof bodies / sizeof *bodies; n++) {
        BUF_AUTO b = BUF_INIT(256);

        put_pae(&b, bodies[n]);
        assert_int_equal(statement_shape(buf_span(&b)), 0);
    }
}

/* No proper prefix, nothing longer and no change of a byte of the frame around the body passes. */
static void test_neighbours(void **state)
{
    BUF_AUTO b = BUF_INIT(256);
    size_t len, body = strlen("{\"a\":1}");

    (void)state;
    put_pae(&b, "{\"a\":1}");
    len = b.len;
    for (size_t n = 0; n < len; n++)
        assert_int_equal(statement_shape(span_of(b.data, n)), -1);
    for (size_t n = 0; n < len - body; n++)
        for (unsigned flip = 1; flip < 256; flip++) {
            b.data[n] = (uint8_t)(b.data[n] ^ flip);
            assert_int_equal(statement_shape(buf_span(&b)), -1);
            b.data[n] = (uint8_t)(b.data[n] ^ flip);
        }
    for (unsigned c = 0; c < 256; c++) {
        b.len = len;
        buf_putc(&b, (uint8_t)c);
        assert_int_equal(statement_shape(buf_span(&b)), -1);
    }
}

static void test_length_field(void **state)
{
    static const char *const bad[] = {"02 {}", "+2 {}", " 2 {}", "-2 {}", "2  {}", "3 {}", "1 {}", "0 ", "2{}", "0x2 {}",
                                      "18446744073709551618 {}", "2 []", "1 {", "2 ", "2", ""};

    (void)state;
    for (size_t n = 0; n < sizeof bad / sizeof *bad; n++) {
        BUF_AUTO b = BUF_INIT(256);

        buf_printf(&b, "DSSEv1 28 application/vnd.in-toto+json %s", bad[n]);
        assert_int_equal(statement_shape(buf_span(&b)), -1);
    }
    assert_int_equal(statement_shape(span_of(NULL, 0)), -1);
}

static void test_too_long(void **state)
{
    static char body[(1 << 20) + 2];
    BUF_AUTO b = BUF_INIT(2 << 20);

    (void)state;
    memset(body, ' ', sizeof body - 1);
    body[0] = '{';
    body[(1 << 20) - 1] = '}';
    body[1 << 20] = 0;
    put_pae(&b, body);
    assert_int_equal(statement_shape(buf_span(&b)), 0);
    buf_clear(&b);
    body[(1 << 20) - 1] = ' ';
    body[1 << 20] = '}';
    put_pae(&b, body);
    assert_int_equal(statement_shape(buf_span(&b)), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_neighbours),
        cmocka_unit_test(test_length_field),
        cmocka_unit_test(test_too_long),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
