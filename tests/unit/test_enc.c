/* Tests of base/enc.c. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/enc.h"

static void hex(void **state)
{
    char text[9];
    uint8_t out[4] = {1, 2, 3, 4};

    (void)state;
    hex_encode("\x00\x9f\xab\xff", 4, text);
    assert_string_equal(text, "009fabff");
    assert_int_equal(hex_decode(text, 8, out, 4), 0);
    assert_memory_equal(out, "\x00\x9f\xab\xff", 4);
    assert_int_equal(hex_decode("009FABFF", 8, out, 4), -1);
    assert_memory_equal(out, "\0\0\0\0", 4);
    assert_int_equal(hex_decode("009fabf", 7, out, 4), -1);
    assert_int_equal(hex_decode("009fab", 6, out, 4), -1);
    assert_int_equal(hex_decode("009fab0g", 8, out, 4), -1);
    assert_int_equal(hex_decode("", 0, out, 0), 0);
}

/* RFC 4648 section 10. */
static const char *const vectors[][2] = {
    {"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="}, {"foobar", "Zm9vYmFy"},
};

static void base64(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        BUF_AUTO text = BUF_INIT(64);
        BUF_AUTO back = BUF_INIT(64);
        BUF_AUTO url = BUF_INIT(64);
        b64_encode(&text, vectors[i][0], strlen(vectors[i][0]));
        assert_string_equal(buf_str(&text), vectors[i][1]);
        assert_int_equal(b64_decode(&back, vectors[i][1], strlen(vectors[i][1])), 0);
        assert_string_equal(buf_str(&back), vectors[i][0]);
        b64url_encode(&url, vectors[i][0], strlen(vectors[i][0]));
        assert_int_equal(url.len, strcspn(vectors[i][1], "="));
        assert_memory_equal(buf_str(&url), vectors[i][1], url.len);
    }
}

static void base64_alphabets(void **state)
{
    BUF_AUTO a = BUF_INIT(64);
    BUF_AUTO b = BUF_INIT(64);

    (void)state;
    b64_encode(&a, "\xfb\xff\xfe", 3);
    assert_string_equal(buf_str(&a), "+//+");
    b64url_encode(&b, "\xfb\xff\xfe", 3);
    assert_string_equal(buf_str(&b), "-__-");
}

static void base64_is_strict(void **state)
{
    static const char *const bad[] = {
        "Z", "Zg", "Zg=", "Zg==\n", "Zh==", "Zm9=", "=Zg=", "Z===", "====", "Zg==Zg==", "Zm 9", "Zm-v", "Zm9v=", "Zm9vZg=A",
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        BUF_AUTO out = BUF_INIT(64);
        buf_puts(&out, "kept");
        assert_int_equal(b64_decode(&out, bad[i], strlen(bad[i])), -1);
        assert_string_equal(buf_str(&out), "kept");
    }
}

static void base64_all_lengths(void **state)
{
    uint8_t data[200];

    (void)state;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 151 + 7);
    for (size_t n = 0; n <= sizeof data; n++) {
        BUF_AUTO text = BUF_INIT(400);
        BUF_AUTO back = BUF_INIT(200);
        b64_encode(&text, data, n);
        assert_int_equal(b64_decode(&back, buf_str(&text), text.len), 0);
        assert_true(span_eq(buf_span(&back), span_of(data, n)));
    }
    BUF_AUTO small = BUF_INIT(3);
    b64_encode(&small, data, 3);
    assert_int_equal(buf_ok(&small), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hex),
        cmocka_unit_test(base64),
        cmocka_unit_test(base64_alphabets),
        cmocka_unit_test(base64_is_strict),
        cmocka_unit_test(base64_all_lengths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
