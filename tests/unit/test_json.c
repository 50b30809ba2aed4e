/* Tests of base/json.c. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/jsonread.h"

static json_t *read_text(const char *text, struct err *e)
{
    return json_read_object(text, strlen(text), 4096, e);
}

static void accepts(void **state)
{
    static const char *const good[] = {
        "{}", " {\n\"a\" : [ 1 , -1 , 0 ] }\t\r\n", "{\"a\":9007199254740991,\"b\":-9007199254740991}",
        "{\"\":\"\\ud83d\\ude02 \\\\ \\\" -0 1.5 {{{\"}",
        "{\"a\":null,\"b\":true,\"c\":false,\"d\":{\"a\":1}}",
    };

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct err e = {0};
        JSON_AUTO *j = read_text(good[i], &e);
        assert_non_null(j);
    }
}

static void refuses(void **state)
{
    static const char *const bad[] = {
        "", " ", "[]", "1", "\"x\"", "null", "{", "{}x", "{} {}", "{\"a\":1,}", "{\"a\":1,\"a\":2}", "{\"a\":1,\"\\u0061\":2}", "{'a':1}", "{a:1}",
        "{\"a\":1.0}", "{\"a\":1e2}", "{\"a\":1E2}", "{\"a\":-0}", "{\"a\":-0.0}", "{\"a\":01}", "{\"a\":+1}", "{\"a\":-}", "{\"a\":.5}",
        "{\"a\":0x1}",
        "{\"a\":9007199254740992}", "{\"a\":-9007199254740992}", "{\"a\":18446744073709551616}", "{\"a\":1e400}", "{\"a\":NaN}", "{\"a\":Infinity}",
        "{\"a\":\"\\ud800\"}", "{\"a\":\"\\udc00\\ud800\"}", "{\"a\":\"\\u0000\"}", "{\"a\\u0000b\":1}", "{\"a\":\"\x01\"}", "{\"a\":\"\xff\"}",
        "{\"a\":\"\xed\xa0\x80\"}", "\xef\xbb\xbf{}", "{\"a\":\"", "{\"a\":\"\\", "{\"a\":\"\\x\"}", "{\"a\":tru}", "// c\n{}", "{\"a\":1 /* c */}",
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct err e = {0};
        JSON_AUTO *j = read_text(bad[i], &e);
        if (j)
            print_error("accepted: %s\n", bad[i]);
        assert_null(j);
        assert_int_equal(e.code, ERR_BAD_REQUEST);
        assert_true(e.detail[0]);
    }
    struct err e = {0};
    assert_null(json_read_object("{\"a\":\"\0\"}", 9, 100, &e));
    assert_null(json_read_object("{}", 2, 1, &e));
    assert_int_equal(e.code, ERR_TOO_LARGE);
}

/* The quick way gives what jansson gives, and gives up on everything else. */
static void quick_way(void **state)
{
    static const struct {
        const char *text;
        bool easy;
    } rows[] = {
        {"{}", true}, {" { } ", true}, {"{\"a\":[]}", true}, {"{\"a\" : [ 1 ,\t-2,[3],{\"b\":null} ] ,\r\n\"c\":true,\"d\":false}", true},
        {"{\"\":\"\"}", true}, {"{\"abcdefgh\":\"12345678\"}", true}, {"{\"abcdefg\":\"1234567\"}", true}, {"{\"\xc3\xa4\":\"\xe2\x82\xac uro, eight\"}", true},
        {"{\"n\":9007199254740991,\"m\":-9007199254740991,\"z\":0}", true}, {"{\"a\":\"1234567\\\"\"}", false}, {"{\"\\u0061\":1}", false},
        {"{\"a\":1,\"a\":1}", false}, {"{\"a\":1,}", false}, {"{\"a\":[1,]}", false}, {"{\"a\":[1}", false}, {"{\"a\":truex}", false}, {"{\"a\":nul}", false},
        {"{\"a\" 1}", false}, {"{\"a\":}", false}, {"{\"a\":-}", false}, {"{,}", false}, {"{\"a\":1}}", false}, {"{\"a\":1} x", false}, {"[{}]", false},
        {"{\"a\":\"x", false}, {"{\"a\":\"12345678", false}, {"{\"a", false}, {"{\"a\":\"\x1f\"}", false}, {"{\"a\":\"123456\x0a\"}", false}, {"", false}, {" ", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        JSON_AUTO *quick = json_read_plain(rows[i].text, strlen(rows[i].text));
        JSON_AUTO *slow = json_loadb(rows[i].text, strlen(rows[i].text), JSON_REJECT_DUPLICATES, NULL);

        if ((quick != NULL) != rows[i].easy)
            print_error("%s\n", rows[i].text);
        assert_true((quick != NULL) == rows[i].easy);
        assert_true(!quick || (slow && json_equal(quick, slow)));
    }
}

/* Cut anywhere, a text is no text any more; a byte behind the end is never looked at. */
static void quick_way_stays_inside(void **state)
{
    static const char text[] = "{\"name\":\"a string of some length\",\"list\":[1,-22,true,null,{\"x\":\"y\"}],\"last\":123}";

    (void)state;
    for (size_t n = 0; n < sizeof text - 1; n++) {
        char *cut = malloc(n + 1);

        assert_non_null(cut);
        memcpy(cut, text, n);
        cut[n] = '}';
        assert_null(json_read_plain(cut, n));
        free(cut);
    }
}

static void depth(void **state)
{
    (void)state;
    for (int n = JSON_DEPTH_MAX; n <= 5000; n += n > 20 ? 4979 : 1) {
        BUF_AUTO b = BUF_INIT(20000);
        struct err e = {0};
        buf_puts(&b, "{\"a\":");
        for (int i = 1; i < n; i++)
            buf_putc(&b, '[');
        for (int i = 1; i < n; i++)
            buf_putc(&b, ']');
        buf_putc(&b, '}');
        JSON_AUTO *j = json_read_object(b.data, b.len, b.len, &e);
        assert_true((j != NULL) == (n <= JSON_DEPTH_MAX));
        if (n > JSON_DEPTH_MAX)
            assert_string_equal(e.detail, "JSON line 1 column 21: nested too deeply");
    }
}

/* So many values and no more, whatever they are; commas in texts do not count. */
static void number_of_values(void **state)
{
    struct err e = {0};

    (void)state;
    for (unsigned more = 0; more < 2; more++) {
        BUF_AUTO b = BUF_INIT(1 << 20);
        buf_puts(&b, "{\"a,\":[0");
        for (unsigned n = 0; n < JSON_VALUES_MAX + more; n++)
            buf_puts(&b, ",0");
        buf_puts(&b, "]}");
        JSON_AUTO *j = json_read_object(b.data, b.len, b.len, &e);
        assert_true((j != NULL) == !more);
    }
    assert_non_null(strstr(e.detail, "too many values"));
}

static void says_where(void **state)
{
    struct err e = {0};

    (void)state;
    assert_null(read_text("{\n  \"a\": 1,\n  \"b\": 1.5\n}", &e));
    assert_string_equal(e.detail, "JSON line 3 column 8: only whole numbers without fraction or exponent are accepted");
    assert_null(read_text("{\n\"a\": 1,\n\"a\": 2}", &e));
    assert_non_null(strstr(e.detail, "JSON line 3 column"));
    assert_non_null(strstr(e.detail, "duplicate"));
}

static void reader_takes_members(void **state)
{
    struct err e = {0};
    struct json_reader r;
    const char *s, *none = "x";
    int64_t n, dflt;
    bool yes, no;
    const json_t *o, *a, *absent = (const json_t *)&e;
    JSON_AUTO *j = read_text("{\"s\":\"text\",\"n\":-5,\"b\":true,\"o\":{},\"a\":[1,2]}", &e);

    (void)state;
    assert_int_equal(json_begin(&r, j, "", &e), 0);
    assert_int_equal(json_get_str(&r, "s", 4, &s, &e), 0);
    assert_string_equal(s, "text");
    assert_int_equal(json_opt_str(&r, "s2", 4, &none, &e), 0);
    assert_null(none);
    assert_int_equal(json_get_int(&r, "n", -5, 5, &n, &e), 0);
    assert_int_equal(n, -5);
    assert_int_equal(json_opt_int(&r, "n2", 0, 5, 3, &dflt, &e), 0);
    assert_int_equal(dflt, 3);
    assert_int_equal(json_opt_bool(&r, "b", false, &yes, &e), 0);
    assert_true(yes);
    assert_int_equal(json_opt_bool(&r, "b2", false, &no, &e), 0);
    assert_false(no);
    assert_int_equal(json_get_object(&r, "o", &o, &e), 0);
    assert_int_equal(json_done(&r, &e), -1);
    assert_int_equal(e.code, ERR_UNKNOWN_MEMBER);
    assert_string_equal(e.detail, "a is not a member this service knows");
    assert_int_equal(json_get_array(&r, "a", 2, &a, &e), 0);
    assert_int_equal(json_opt_array(&r, "a2", 2, &absent, &e), 0);
    assert_null(absent);
    assert_int_equal(json_done(&r, &e), 0);
}

static void reader_refuses(void **state)
{
    struct err e = {0};
    struct json_reader r;
    const char *s = "kept";
    int64_t n = 77;
    bool b = true;
    const json_t *o = NULL;
    JSON_AUTO *j = read_text("{\"s\":\"text\",\"n\":6,\"z\":null,\"a\":[1,2]}", &e);

    (void)state;
    assert_int_equal(json_begin(&r, json_object_get(j, "a"), "list", &e), -1);
    assert_string_equal(e.detail, "list must be an object");
    assert_int_equal(json_begin(&r, NULL, "", &e), -1);
    assert_int_equal(json_begin(&r, j, "top", &e), 0);
    assert_int_equal(json_get_str(&r, "s", 3, &s, &e), -1);
    assert_string_equal(e.detail, "top.s has 4 bytes, the limit is 3");
    assert_int_equal(json_get_str(&r, "x", 3, &s, &e), -1);
    assert_string_equal(e.detail, "top.x is missing");
    assert_int_equal(json_opt_str(&r, "n", 3, &s, &e), -1);
    assert_string_equal(e.detail, "top.n must be a string");
    assert_int_equal(json_opt_str(&r, "z", 3, &s, &e), -1);
    assert_int_equal(json_get_int(&r, "n", 0, 5, &n, &e), -1);
    assert_string_equal(e.detail, "top.n must be from 0 to 5");
    assert_int_equal(json_opt_int(&r, "s", 0, 5, 1, &n, &e), -1);
    assert_int_equal(json_opt_bool(&r, "n", false, &b, &e), -1);
    assert_int_equal(json_get_object(&r, "a", &o, &e), -1);
    assert_int_equal(json_get_object(&r, "x", &o, &e), -1);
    assert_int_equal(json_get_array(&r, "a", 1, &o, &e), -1);
    assert_string_equal(e.detail, "top.a has 2 items, the limit is 1");
    assert_int_equal(json_opt_array(&r, "s", 1, &o, &e), -1);
    assert_int_equal(e.code, ERR_BAD_REQUEST);
    assert_string_equal(s, "kept");
    assert_int_equal(n, 77);
    assert_null(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts),    cmocka_unit_test(refuses),              cmocka_unit_test(quick_way), cmocka_unit_test(quick_way_stays_inside), cmocka_unit_test(depth),
        cmocka_unit_test(number_of_values), cmocka_unit_test(says_where), cmocka_unit_test(reader_takes_members), cmocka_unit_test(reader_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
