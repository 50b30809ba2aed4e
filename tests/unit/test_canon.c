/* Tests of base/canon.c. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/json.h"

#define VECTORS "tests/vectors/jcs/" /* of the authors of RFC 8785; run from the top of the tree */

static void load(struct buf *b, const char *folder, const char *name)
{
    char path[128];

    snprintf(path, sizeof path, VECTORS "%s/%s.json", folder, name);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    b->len += fread(buf_room(b, 8192), 1, 8192, f);
    fclose(f);
}

/* The reader takes objects only, so the vector goes into a member. */
static json_t *read_wrapped(const char *name, struct err *e)
{
    BUF_AUTO in = BUF_INIT(16384);

    buf_puts(&in, "{\"v\":");
    load(&in, "input", name);
    buf_putc(&in, '}');
    return json_read_object(in.data, in.len, in.len, e);
}

static void vectors_are_reproduced(void **state)
{
    static const char *const names[] = {"arrays", "french", "unicode", "weird"};

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct err e = {0};
        BUF_AUTO got = BUF_INIT(16384);
        BUF_AUTO want = BUF_INIT(16384);
        JSON_AUTO *j = read_wrapped(names[i], &e);
        assert_non_null(j);
        load(&want, "output", names[i]);
        json_canonical(&got, json_object_get(j, "v"));
        assert_int_equal(buf_ok(&got), 0);
        assert_string_equal(buf_str(&got), buf_str(&want));
    }
}

static void vectors_with_fractions_are_refused(void **state)
{
    struct err e = {0};

    (void)state;
    assert_null(read_wrapped("structures", &e));
    assert_non_null(strstr(e.detail, "whole numbers"));
    assert_null(read_wrapped("values", &e));
    assert_non_null(strstr(e.detail, "whole numbers"));
}

/* The parts of those vectors that have no fraction. */
static void their_rest_is_reproduced(void **state)
{
    static const char in[] =
        "{\"1\":{\"f\":{\"f\":\"hi\",\"F\":5},\"\\n\":56},\"10\":{},\"\":\"empty\",\"a\":{},\"111\":[{\"e\":\"yes\",\"E\":\"no\"}],\"A\":{},"
        "\"string\":\"\\u20ac$\\u000F\\u000aA'\\u0042\\u0022\\u005c\\\\\\\"\\/\"}";
    static const char out[] =
        "{\"\":\"empty\",\"1\":{\"\\n\":56,\"f\":{\"F\":5,\"f\":\"hi\"}},\"10\":{},\"111\":[{\"E\":\"no\",\"e\":\"yes\"}],\"A\":{},\"a\":{},"
        "\"string\":\"\xe2\x82\xac$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}";
    struct err e = {0};
    BUF_AUTO got = BUF_INIT(1024);
    JSON_AUTO *j = json_read_object(in, sizeof in - 1, 1024, &e);

    (void)state;
    json_canonical(&got, j);
    assert_string_equal(buf_str(&got), out);
}

static void every_escape(void **state)
{
    BUF_AUTO got = BUF_INIT(1024);
    char text[128] = {0};

    (void)state;
    for (int i = 0; i < 127; i++)
        text[i] = (char)(i + 1);
    JSON_AUTO *j = json_string(text);
    json_canonical(&got, j);
    assert_string_equal(buf_str(&got),
        "\"\\u0001\\u0002\\u0003\\u0004\\u0005\\u0006\\u0007\\b\\t\\n\\u000b\\f\\r\\u000e\\u000f\\u0010\\u0011\\u0012\\u0013\\u0014\\u0015\\u0016"
        "\\u0017\\u0018\\u0019\\u001a\\u001b\\u001c\\u001d\\u001e\\u001f !\\\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\\\]^_`"
        "abcdefghijklmnopqrstuvwxyz{|}~\x7f\"");
}

static void integers(void **state)
{
    BUF_AUTO got = BUF_INIT(1024);
    JSON_AUTO *j = json_pack("[I,I,I,I]", (json_int_t)0, (json_int_t)-7, (json_int_t)9007199254740991, (json_int_t)-9007199254740991);

    (void)state;
    json_canonical(&got, j);
    assert_string_equal(buf_str(&got), "[0,-7,9007199254740991,-9007199254740991]");
}

static void what_it_cannot_write_fails_the_buffer(void **state)
{
    json_t *bad[] = {
        json_real(1.0), json_integer(9007199254740992), json_integer(-9007199254740992), json_integer(INT64_MIN), json_stringn("a\0b", 3),
        json_string_nocheck("\xff"), json_pack("{s:[f]}", "a", 0.5), NULL,
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        BUF_AUTO got = BUF_INIT(1024);
        json_canonical(&got, bad[i]);
        assert_int_equal(buf_ok(&got), -1);
        json_decref(bad[i]);
    }
}

static void depth_and_many_members(void **state)
{
    JSON_AUTO *deep = json_integer(1), *wide = json_object();
    BUF_AUTO got = BUF_INIT(1 << 20);

    (void)state;
    for (int i = 0; i < JSON_DEPTH_MAX; i++)
        deep = json_pack("[o]", deep);
    json_canonical(&got, deep);
    assert_int_equal(buf_ok(&got), 0);
    deep = json_pack("[o]", deep);
    json_canonical(&got, deep);
    assert_int_equal(buf_ok(&got), -1);
    buf_clear(&got);
    for (int i = 0; i < 1000; i++) {
        char name[16];
        snprintf(name, sizeof name, "k%03d", (i * 617) % 1000);
        json_object_set_new(wide, name, json_null());
    }
    json_canonical(&got, wide);
    assert_int_equal(buf_ok(&got), 0);
    assert_int_equal(json_is_canonical(got.data, got.len), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_are_reproduced), cmocka_unit_test(vectors_with_fractions_are_refused), cmocka_unit_test(their_rest_is_reproduced),
        cmocka_unit_test(every_escape), cmocka_unit_test(integers), cmocka_unit_test(what_it_cannot_write_fails_the_buffer),
        cmocka_unit_test(depth_and_many_members),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
