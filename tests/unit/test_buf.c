/* Tests of base/buf.c. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

static void grows_to_its_maximum(void **state)
{
    BUF_AUTO b = BUF_INIT(1000);

    (void)state;
    assert_string_equal(buf_str(&b), "");
    for (int i = 0; i < 100; i++)
        buf_puts(&b, "0123456789");
    assert_int_equal(buf_ok(&b), 0);
    assert_int_equal(b.len, 1000);
    assert_int_equal(strlen(buf_str(&b)), 1000);
    assert_true(b.cap <= 1001);
    buf_putc(&b, 'x');
    assert_int_equal(buf_ok(&b), -1);
    assert_int_equal(b.len, 1000);
    buf_consume(&b, 990);
    buf_putc(&b, 'x');
    assert_string_equal(buf_str(&b), "0123456789");
    assert_null(buf_steal(&b, NULL));
    buf_clear(&b);
    buf_puts(&b, "again");
    assert_int_equal(buf_ok(&b), 0);
    assert_string_equal(buf_str(&b), "again");
}

static void zero_holds_nothing(void **state)
{
    struct buf b = {0};

    (void)state;
    buf_put(&b, NULL, 0);
    assert_int_equal(buf_ok(&b), 0);
    buf_putc(&b, 'x');
    assert_int_equal(buf_ok(&b), -1);
    buf_free(&b);
    assert_false(b.failed);
}

static void huge_sizes_fail(void **state)
{
    BUF_AUTO b = BUF_INIT(SIZE_MAX);

    (void)state;
    buf_putc(&b, 'x');
    assert_null(buf_room(&b, SIZE_MAX - 1));
    assert_int_equal(buf_ok(&b), -1);
    buf_clear(&b);
    assert_null(buf_room(&b, SIZE_MAX));
}

static void numbers_and_text(void **state)
{
    BUF_AUTO b = BUF_INIT(64);

    (void)state;
    buf_u32(&b, 0x01020304u);
    buf_u64(&b, UINT64_C(0x1112131415161718));
    assert_memory_equal(b.data, "\x01\x02\x03\x04\x11\x12\x13\x14\x15\x16\x17\x18", 12);
    buf_clear(&b);
    buf_decimal(&b, 0);
    buf_decimal(&b, 907);
    buf_decimal(&b, UINT64_MAX);
    assert_string_equal(buf_str(&b), "090718446744073709551615");
    buf_clear(&b);
    buf_printf(&b, "%d-%s", 42, "x");
    assert_string_equal(buf_str(&b), "42-x");
    buf_printf(&b, "%100d", 1);
    assert_int_equal(buf_ok(&b), -1);
    assert_string_equal(buf_str(&b), "42-x");
}

static void room_steal_consume(void **state)
{
    BUF_AUTO b = BUF_INIT(100);
    size_t len;

    (void)state;
    uint8_t *to = buf_room(&b, 50);
    assert_non_null(to);
    memset(to, 'z', 50);
    memcpy(to, "abc", 3);
    b.len += 3;
    assert_string_equal(buf_str(&b), "abc");
    buf_consume(&b, 1);
    assert_string_equal(buf_str(&b), "bc");
    char *text = buf_steal(&b, &len);
    assert_string_equal(text, "bc");
    assert_int_equal(len, 2);
    free(text);
    assert_null(b.data);
    buf_puts(&b, "new");
    assert_string_equal(buf_str(&b), "new");
    buf_consume(&b, 99);
    assert_int_equal(b.len, 0);
    buf_wipe(&b);
    assert_null(b.data);
}

static void spans(void **state)
{
    (void)state;
    assert_true(span_eq(span_str("ab"), span_of("ab", 2)));
    assert_false(span_eq(span_str("ab"), span_str("abc")));
    assert_false(span_eq(span_str("ab"), span_str("ac")));
    assert_true(span_eq((struct span){0}, span_str("")));
    assert_true(span_eq_str(span_of("abc", 2), "ab"));
}

static void expect_is_a_hint(void **state)
{
    struct buf b = BUF_INIT(1000);
    const uint8_t *before;

    (void)state;
    buf_expect(&b, 700);
    before = b.data;
    assert_true(before && b.len == 0 && b.cap > 700);
    for (unsigned n = 0; n < 700; n++)
        buf_putc(&b, 'x');
    assert_ptr_equal(b.data, before);
    buf_expect(&b, 301); /* beyond the maximum, and beyond any number */
    buf_expect(&b, SIZE_MAX);
    assert_true(!b.failed && b.len == 700);
    for (unsigned n = 0; n < 300; n++)
        buf_putc(&b, 'y');
    assert_int_equal(buf_ok(&b), 0);
    buf_putc(&b, 'z');
    assert_int_equal(buf_ok(&b), -1);
    buf_expect(&b, 1);
    assert_true(b.failed && b.len == 1000);
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows_to_its_maximum), cmocka_unit_test(zero_holds_nothing), cmocka_unit_test(huge_sizes_fail),
        cmocka_unit_test(numbers_and_text),     cmocka_unit_test(room_steal_consume), cmocka_unit_test(expect_is_a_hint), cmocka_unit_test(spans),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
