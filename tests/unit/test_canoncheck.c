/* Tests of base/canoncheck.c. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/json.h"

static const char record[] =
    "{\"actor\":\"ci-build\",\"algorithm\":\"p256\",\"artifact\":{\"app\":\"shop\",\"channel\":\"stable\",\"version\":\"1.4.0\"},"
    "\"detail\":{\"issued\":\"2026-03-03T08:09:10.123456Z\",\"list\":[1,-2,0,9007199254740991,[],{},true,false,null],"
    "\"name\":\"shop-1.4.0.tar.gz\",\"size\":10485760},"
    "\"hash\":\"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\",\"prev\":"
    "\"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\",\"reason\":\"caf\xc3\xa9 \\\"quoted\\\"\\n\\u001f\","
    "\"seq\":123456,\"type\":\"sign.done\"}";

static void accepts(void **state)
{
    static const char *const good[] = {
        "{}", "{\"a\":{}}", "{\"a\":[]}", "{\"a\":[[],{}]}", "{\"a\":0,\"b\":-1}", "{\"a\":1,\"ab\":2,\"b\":3}", "{\"0\":1,\"_\":2,\"a\":3}",
        "{\"a\":\"\"}",
        "{\"a\":{\"a\":1},\"b\":{\"a\":1}}", "{\"a\":\"\\u0001\\u001f\\u000b\\b\\t\\n\\f\\r\\\"\\\\/\x7f\"}",
        "{\"a\":9007199254740991,\"b\":-9007199254740991}",
        "{\"a\":\"\xf0\x9f\x98\x82\"}", "{\"a\":\"1234567\xc3\xa9 12345678\"}", record,
    };

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_int_equal(json_is_canonical(good[i], strlen(good[i])), 0);
}

static void refuses(void **state)
{
    static const char *const bad[] = {
        "", "[]", "1", "{", "}", "{}\n", " {}", "{ }", "{}}", "{\"a\":1", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{,\"a\":1}", "{\"a\":[1,]}",
        "{\"a\":[,1]}",
        "{\"a\":[1}", "{\"a\":[1}]", "{\"a\" :1}", "{\"a\": 1}", "{\"a\":1, \"b\":2}", "{\"b\":1,\"a\":2}", "{\"a\":1,\"a\":2}", "{\"ab\":1,\"a\":2}",
        "{\"A\":1}", "{\"\":1}", "{\"a-b\":1}", "{\"a.b\":1}", "{\"\\u0061\":1}", "{\"\xc3\xa9\":1}", "{\"a\":01}", "{\"a\":-0}", "{\"a\":-}",
        "{\"a\":+1}",
        "{\"a\":1.0}", "{\"a\":1e2}", "{\"a\":1E2}", "{\"a\":9007199254740992}", "{\"a\":-9007199254740992}", "{\"a\":99999999999999999999}",
        "{\"a\":tru}",
        "{\"a\":truee}", "{\"a\":nul", "{\"a\":\"\\u000A\"}", "{\"a\":\"\\u000a\"}", "{\"a\":\"\\u0008\"}", "{\"a\":\"\\u0000\"}",
        "{\"a\":\"\\u001F\"}",
        "{\"a\":\"\\u0020\"}", "{\"a\":\"\\u00e9\"}", "{\"a\":\"\\/\"}", "{\"a\":\"\\x\"}", "{\"a\":\"\x1f\"}", "{\"a\":\"\n\"}", "{\"a\":\"\xff\"}",
        "{\"a\":\"\xed\xa0\x80\"}", "{\"a\":\"12345678\x01\"}", "{\"a\":\"x", "{\"a\":\"\\", "{\"a\":\"\\u", "{\"a\":\"\\u001", "{\"a\":\"\xe2\x82",
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (json_is_canonical(bad[i], strlen(bad[i])) == 0)
            fail_msg("accepted: %s", bad[i]);
    }
    assert_int_equal(json_is_canonical("{\"a\":\"\0\"}", 9), -1);
    assert_int_equal(json_is_canonical("{\"a\":\"\\\0\"}", 10), -1);
}

static void depth(void **state)
{
    (void)state;
    for (int n = 1; n < 2 * JSON_DEPTH_MAX; n++) {
        BUF_AUTO b = BUF_INIT(1000);
        buf_puts(&b, "{\"a\":");
        for (int i = 1; i < n; i++)
            buf_putc(&b, '[');
        if (n == 1)
            buf_putc(&b, '1');
        for (int i = 1; i < n; i++)
            buf_putc(&b, ']');
        buf_putc(&b, '}');
        assert_int_equal(json_is_canonical(b.data, b.len), n <= JSON_DEPTH_MAX ? 0 : -1);
    }
}

/* Members of whatever kind, at any depth but within arrays, and nothing of a text that is not canonical. */
static void finds_members(void **state)
{
    static const char text[] = "{\"a\":{\"n\":{\"x\":[1]},\"seq\":1},\"b\":[{\"seq\":2}],\"c\":{},\"prev\":\"q\\\"x\",\"seq\":3,\"seq2\":{\"a\":4},\"t\":true,"
                               "\"z\":null}";
    static const struct {
        const char *path, *text;
    } want[] = {
        {"a", "{\"n\":{\"x\":[1]},\"seq\":1}"}, {"a.a", NULL}, {"a.n", "{\"x\":[1]}"}, {"a.n.x", "[1]"}, {"a.ne", NULL}, {"a.seq", "1"}, {"a.seq.x", NULL},
        {"b.seq", NULL}, {"c", "{}"}, {"c.a", NULL}, {"prev", "\"q\\\"x\""}, {"prev.a", NULL}, {"se", NULL}, {"seq", "3"}, {"seq2.a", "4"}, {"seq3", NULL},
        {"t", "true"}, {"tt", NULL}, {"z", "null"}, {"zz", NULL}};
    struct json_wanted w[sizeof want / sizeof *want];

    (void)state;
    for (size_t n = 0; n < sizeof w / sizeof *w; n++)
        w[n].name = want[n].path;
    assert_int_equal(json_scan_canonical(text, sizeof text - 1, w, sizeof w / sizeof *w), 0);
    for (size_t n = 0; n < sizeof w / sizeof *w; n++) {
        assert_int_equal(w[n].text.data != NULL, want[n].text != NULL);
        assert_true(!want[n].text || span_eq_str(w[n].text, want[n].text));
    }
    assert_int_equal(json_scan_canonical("{\"b\":1,\"a\":2}", 13, w, 2), -1);
    assert_int_equal(json_scan_canonical("{}", 2, w, 2), 0);
    assert_null(w[0].text.data);
}

/* The tree is the one that the other reader builds; what is not canonical has none. */
static void builds_the_tree(void **state)
{
    static const char *const texts[] = {
        "{}", "{\"a\":[],\"b\":{},\"c\":[1,[2,{\"x\":-3}],\"\"]}", "{\"n\":9007199254740991,\"o\":-9007199254740991,\"z\":0}",
        "{\"s\":\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\\u000b\xc3\xa9\xf0\x9f\x98\x80\"}", "{\"a\":true,\"b\":false,\"c\":null}"};
    static const char *const none[] = {"", "[]", "{\"a\":1", "{\"a\":1}x", "{\"b\":1,\"a\":2}", "{\"a\":[1,{\"b\":2}", "{\"a\":1.5}"};

    (void)state;
    for (size_t n = 0; n < sizeof texts / sizeof *texts; n++) {
        JSON_AUTO *fast = json_read_canonical(texts[n], strlen(texts[n])), *slow = json_read_object(texts[n], strlen(texts[n]), 4096, NULL);

        assert_non_null(fast);
        assert_true(json_equal(fast, slow));
    }
    for (size_t n = 0; n < sizeof none / sizeof *none; n++)
        assert_null(json_read_canonical(none[n], strlen(none[n])));
}

static int by_rewriting(const char *data, size_t len)
{
    BUF_AUTO again = BUF_INIT(2 * len + 1);
    JSON_AUTO *j = json_read_object(data, len, len, NULL);

    if (!j)
        return -1;
    json_canonical(&again, j);
    return buf_ok(&again) == 0 && span_eq(buf_span(&again), span_of(data, len)) ? 0 : -1;
}

/* Every one-byte change, loss and cut of a record gets the same verdict from parsing and writing again; names in a record stay in the alphabet or
 * are refused by the checker alone. */
static void agrees_with_the_writer_near_a_record(void **state)
{
    char text[sizeof record];
    size_t len = sizeof record - 1;

    (void)state;
    for (size_t at = 0; at < len; at++) {
        for (unsigned c = 0; c < 256; c += c < 0x80 ? 1 : 23) {
            memcpy(text, record, sizeof record);
            text[at] = (char)c;
            int quick = json_is_canonical(text, len);
            if (quick == 0 || ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'))
                assert_int_equal(quick, by_rewriting(text, len));
        }
        memcpy(text, record, sizeof record);
        memmove(text + at, text + at + 1, len - at);
        if (json_is_canonical(text, len - 1) == 0)
            assert_int_equal(by_rewriting(text, len - 1), 0);
        assert_int_equal(json_is_canonical(record, at), -1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts),
        cmocka_unit_test(refuses),
        cmocka_unit_test(depth), cmocka_unit_test(finds_members), cmocka_unit_test(builds_the_tree),
        cmocka_unit_test(agrees_with_the_writer_near_a_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
