/* Printing strangers' text: nothing a terminal acts on gets through. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "client/escape.h"

static void check(enum escape_mode mode, const char *in, const char *want)
{
    BUF_AUTO out = BUF_INIT(4096);

    escape_text(&out, span_str(in), mode);
    assert_int_equal(buf_ok(&out), 0);
    assert_string_equal(buf_str(&out), want);
}

static void test_plain_text_passes(void **state)
{
    (void)state;
    check(ESCAPE_LINE, "", "");
    check(ESCAPE_LINE, "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80");
}

static void test_controls(void **state)
{
    (void)state;
    check(ESCAPE_LINE, "a\x1b[31mb", "a\\x1b[31mb");
    check(ESCAPE_LINE, "a\nb\tc\r\x7f", "a\\x0ab\\x09c\\x0d\\x7f");
    check(ESCAPE_BLOCK, "a\nb\tc\r", "a\nb\tc\\x0d");
    check(ESCAPE_LINE, "\xc2\x9b" "31m", "\\u{9b}31m");
}

static void test_bidi_and_invisible(void **state)
{
    (void)state;
    check(ESCAPE_LINE, "a\xe2\x80\xae" "b", "a\\u{202e}b");
    check(ESCAPE_LINE, "\xe2\x81\xa6\xe2\x80\x8b\xef\xbb\xbf", "\\u{2066}\\u{200b}\\u{feff}");
    check(ESCAPE_LINE, "\xf3\xa0\x81\x81", "\\u{e0041}");
    check(ESCAPE_BLOCK, "\xd8\x9c", "\\u{61c}");
}

static void test_invalid_utf8(void **state)
{
    (void)state;
    check(ESCAPE_LINE, "\xff\xc0\xaf", "\\xff\\xc0\\xaf");
    check(ESCAPE_LINE, "\xe2\x82", "\\xe2\\x82");
    check(ESCAPE_LINE, "\xed\xa0\x80", "\\xed\\xa0\\x80");
    check(ESCAPE_LINE, "\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80");
}

static void test_json_stays_json(void **state)
{
    (void)state;
    check(ESCAPE_JSON, "{\"a\":\"\x7f\xe2\x80\xae\"}", "{\"a\":\"\\u007f\\u202e\"}");
    check(ESCAPE_JSON, "\xf3\xa0\x81\x81", "\\udb40\\udc41");
}

static void test_width(void **state)
{
    (void)state;
    assert_int_equal(escape_width(span_str("caf\xc3\xa9")), 4);
    assert_int_equal(escape_width(span_str("")), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_text_passes), cmocka_unit_test(test_controls),        cmocka_unit_test(test_bidi_and_invisible),
        cmocka_unit_test(test_invalid_utf8),      cmocka_unit_test(test_json_stays_json), cmocka_unit_test(test_width),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
