/* The verifier's canonical form: what it writes, and which lines it takes. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "audit/verify/canon.h"

/* -1 unreadable, 0 readable but of another form, 1 canonical. */
static int judge(const char *text)
{
    struct err e = {0};
    BUF_AUTO scratch = BUF_INIT(1 << 20);
    JSON_AUTO *j = json_read_object(text, strlen(text), 1 << 20, &e);

    if (!j)
        return -1;
    return canon_same(&scratch, j, span_str(text));
}

static const struct {
    const char *text;
    int verdict;
} CASES[] = {
    {"{}", 1},
    {"{\"a\":1,\"b\":[true,false,null,\"x\",-5],\"c\":{\"d\":{}}}", 1},
    {"{\"a\":9007199254740991,\"b\":-9007199254740991}", 1},
    {"{\"a\":\"\\b\\t\\n\\f\\r\\\"\\\\\\u0001\\u001f/\x7f\"}", 1},
    {"{\"a\":\"\xc3\xa9\xe2\x80\xae\xf0\x9f\x98\x80\"}", 1},
    {"{\"a\":1,\"a1\":2,\"a_\":3}", 1},
    {"{\"b\":1,\"a\":2}", 0},
    {"{\"a\": 1}", 0},
    {" {\"a\":1}", 0},
    {"{\"a\":1}\r", 0},
    {"{\"a\":\"\\/\"}", 0},
    {"{\"a\":\"\\u001F\"}", 0},
    {"{\"a\":\"\\u000a\"}", 0},
    {"{\"a\":\"\\u00e9\"}", 0},
    {"{\"a\":\"\\ud83d\\ude00\"}", 0},
    {"{\"A\":1}", 0},
    {"{\"a-b\":1}", 0},
    {"{\"\":1}", 0},
    {"{\"x\":{\"b\":1,\"a\":1}}", 0},
    {"{\"a\":1.0}", -1},
    {"{\"a\":1e2}", -1},
    {"{\"a\":-0}", -1},
    {"{\"a\":9007199254740992}", -1},
    {"{\"a\":1,\"a\":1}", -1},
    {"{\"a\":\"\\u0000\"}", -1},
    {"{\"a\":\"\\ud800\"}", -1},
    {"{\"a\":\"\xff\"}", -1},
    {"{\"a\":01}", -1},
    {"[1]", -1},
    {"{\"a\":1}x", -1},
};

static void test_lines(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++)
        if (judge(CASES[i].text) != CASES[i].verdict)
            fail_msg("%s: %d instead of %d", CASES[i].text, judge(CASES[i].text), CASES[i].verdict);
}

static void test_values_that_have_no_form(void **state)
{
    JSON_AUTO *real = json_pack("{s:f}", "a", 1.5);
    JSON_AUTO *big = json_pack("{s:I}", "a", (json_int_t)9007199254740992);
    BUF_AUTO out = BUF_INIT(1 << 10);

    (void)state;
    canon_value(&out, real);
    assert_int_equal(buf_ok(&out), -1);
    buf_clear(&out);
    canon_value(&out, big);
    assert_int_equal(buf_ok(&out), -1);
}

static void test_members_are_sorted(void **state)
{
    JSON_AUTO *j = json_pack("{s:i, s:i, s:[i, {s:s}]}", "zz", 1, "a", 2, "m", 3, "k", "\x01");
    BUF_AUTO out = BUF_INIT(1 << 10);

    (void)state;
    canon_value(&out, j);
    assert_int_equal(buf_ok(&out), 0);
    assert_string_equal(buf_str(&out), "{\"a\":2,\"m\":[3,{\"k\":\"\\u0001\"}],\"zz\":1}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_lines), cmocka_unit_test(test_values_that_have_no_form),
                                       cmocka_unit_test(test_members_are_sorted)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
