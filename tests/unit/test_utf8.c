/* Tests of base/utf8.c. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/json.h"
#include "base/utf8.h"

static const char *const good[] = {
    "", "plain", "exactly8", "more than eight bytes of ASCII", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80", "\xef\xbf\xbf",
    "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf", "12345678\xe2\x82\xac-234567890", "\x7f\x01",
};
static const char *const bad[] = {
    "\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xc2", "\xc2 ", "\xe0\x9f\xbf", "\xe2\x82", "\xed\xa0\x80", "\xed\xbf\xbf", "\xf0\x8f\xbf\xbf",
    "\xf0\x90\x80", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "12345678\xe2\x82", "\xe2\x28\xa1", "\xf0\x90\x28\xbc", "1234567\xff",
};

static void check(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_int_equal(utf8_check(good[i], strlen(good[i])), 0);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(utf8_check(bad[i], strlen(bad[i])), -1);
    assert_int_equal(utf8_check(NULL, 0), 0);
    assert_int_equal(utf8_check("a\0b", 3), -1);
    assert_int_equal(utf8_check("1234567890\0", 11), -1);
}

/* Every code point is accepted in its own form exactly when it is a scalar value. */
static void every_code_point(void **state)
{
    (void)state;
    for (uint32_t c = 1; c < 0x120000; c++) {
        uint8_t s[4] = {(uint8_t)c};
        size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
        for (size_t i = n - 1; n > 1 && i > 0; i--)
            s[i] = (uint8_t)(0x80 | (c >> 6 * (n - 1 - i) & 63));
        if (n > 1)
            s[0] = (uint8_t)((0xf00 >> n & 0xff) | c >> 6 * (n - 1));
        size_t want = c > 0x10ffff || (c >= 0xd800 && c < 0xe000) ? 0 : n;
        assert_int_equal(utf8_sequence(s, n), want);
        assert_int_equal(utf8_is_control(s, n), want && (c < 0x20 || (c >= 0x7f && c < 0xa0)));
        if (n > 1)
            assert_int_equal(utf8_sequence(s, n - 1), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(check), cmocka_unit_test(every_code_point)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
