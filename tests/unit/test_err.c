/* Tests of base/err.c. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "base/err.h"

static void sets_and_returns(void **state)
{
    struct err e = {0};

    (void)state;
    assert_int_equal(err_set(&e, ERR_NOT_FOUND, "no key %s", "k1"), -1);
    assert_int_equal(e.code, ERR_NOT_FOUND);
    assert_string_equal(e.detail, "no key k1");
    assert_int_equal(err_set(NULL, ERR_NOT_FOUND, "x"), -1);
    assert_int_equal(err_errno(&e, ERR_INTERNAL, ENOENT, "open %s", "f"), -1);
    assert_string_equal(e.detail, "open f: No such file or directory");
    assert_int_equal(err_context(&e, "line %d", 3), -1);
    assert_string_equal(e.detail, "line 3: open f: No such file or directory");
    assert_int_equal(e.code, ERR_INTERNAL);
}

static void takes_its_own_detail(void **state)
{
    struct err e = {0};

    (void)state;
    err_set(&e, ERR_BUSY, "inner");
    err_set(&e, ERR_BUSY, "%s and %s", e.detail, e.detail);
    assert_string_equal(e.detail, "inner and inner");
}

static void cleans_and_cuts(void **state)
{
    struct err e = {0};
    char big[2 * ERR_DETAIL_MAX];

    (void)state;
    err_set(&e, ERR_BAD_REQUEST, "a\nb\x1b[0m\x7f \xc3\xa9 \xff \xc2\x9b" "x");
    assert_string_equal(e.detail, "a?b?[0m? \xc3\xa9 ? ??x");
    memset(big, 'x', sizeof big);
    memcpy(big + ERR_DETAIL_MAX - 2, "\xc3\xa9", 2);
    big[sizeof big - 1] = '\0';
    err_set(&e, ERR_BAD_REQUEST, "%s", big);
    assert_int_equal(strlen(e.detail), ERR_DETAIL_MAX - 1);
    assert_int_equal(e.detail[ERR_DETAIL_MAX - 2], '?');
    err_context(&e, "where");
    assert_int_equal(strlen(e.detail), ERR_DETAIL_MAX - 1);
    assert_memory_equal(e.detail, "where: xx", 9);
}

static void table_is_whole(void **state)
{
    (void)state;
    assert_int_equal(err_status(ERR_NONE), 200);
    assert_string_equal(err_slug(ERR_NONE), "ok");
    for (unsigned i = 1; i < ERR_COUNT; i++) {
        enum err_code code = (enum err_code)i;
        assert_in_range(err_status(code), 400, 599);
        assert_true(strlen(err_title(code)) > 5 && strlen(err_cure(code)) > 5);
        for (unsigned other = 0; other < i; other++)
            assert_string_not_equal(err_slug((enum err_code)other), err_slug(code));
        assert_int_equal(strspn(err_slug(code), "abcdefghijklmnopqrstuvwxyz-"), strlen(err_slug(code)));
    }
    assert_string_equal(err_slug((enum err_code)999), "internal");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sets_and_returns),
        cmocka_unit_test(takes_its_own_detail),
        cmocka_unit_test(cleans_and_cuts),
        cmocka_unit_test(table_is_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
