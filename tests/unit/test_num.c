/* Tests of base/num.c. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/num.h"

static void accepts(void **state)
{
    uint64_t n = 7;

    (void)state;
    assert_int_equal(num_parse_u64("0", 1, 0, 9, &n), 0);
    assert_int_equal(n, 0);
    assert_int_equal(num_parse_u64("18446744073709551615", 20, 0, UINT64_MAX, &n), 0);
    assert_true(n == UINT64_MAX);
    assert_int_equal(num_parse_u64("123x", 3, 123, 123, &n), 0);
    assert_int_equal(n, 123);
}

static void refuses(void **state)
{
    static const char *const bad[] = {
        "", "00", "01", "-1", "+1", " 1", "1 ", "1.0", "1e2", "0x1", "18446744073709551616", "99999999999999999999999", "a",
    };
    uint64_t n = 7;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(num_parse_u64(bad[i], strlen(bad[i]), 0, UINT64_MAX, &n), -1);
    assert_int_equal(num_parse_u64("5", 1, 6, 9, &n), -1);
    assert_int_equal(num_parse_u64("10", 2, 6, 9, &n), -1);
    assert_int_equal(n, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(accepts), cmocka_unit_test(refuses)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
