/* Tests of policy/version.c. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "policy/version.h"

static void accepts(void **state)
{
    static const char *const good[] = {
        "0.0.0", "1.2.3", "10.20.30", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-0", "1.0.0-0a", "1.0.0-00a", "1.0.0--", "1.0.0-x-y-z.-", "1.0.0+001",
        "1.0.0+0.build.1-rc.10000aaa-kk-0.1", "1.0.0-rc.1+build.123", "1.0.0-alpha-a.b-c-somethinglong+build.1-aef.1-its-okay",
        "99999999999999999999999.999999999999999999.99999999999999999", "1.0.0-99999999999999999999999999",
    };
    struct err e = {0};

    (void)state;
    for (size_t n = 0; n < sizeof good / sizeof *good; n++)
        if (version_check(good[n], &e))
            fail_msg("%s: %s", good[n], e.detail);
}

static void refuses(void **state)
{
    static const char *const bad[] = {
        "", "1", "1.2", "1.2.3.4", "v1.2.3", "01.2.3", "1.02.3", "1.2.03", "1.2.3-", "1.2.3+", "1.2.3-+x", "1.2.3-01", "1.2.3-a..b", "1.2.3-a.",
        "1.2.3-.a",
        "1.2.3+a..b", "1.2.3+a+b", "1.2.3-a_b", "1.2.3-a b", " 1.2.3", "1.2.3 ", "1.2.3\n", "-1.2.3", "1.-2.3", "1..3", "1.2.", "1.2.x", "alpha",
        "1.2.3-\xc3\xa9", "1,2,3",
    };

    (void)state;
    for (size_t n = 0; n < sizeof bad / sizeof *bad; n++) {
        struct err e = {0};

        if (!version_check(bad[n], &e))
            fail_msg("\"%s\" was accepted", bad[n]);
        assert_int_equal(e.code, ERR_BAD_VERSION);
        assert_true(e.detail[0]);
    }
}

static void length(void **state)
{
    char text[VERSION_MAX + 2] = "1.0.0-";
    struct err e = {0};

    (void)state;
    memset(text + 6, 'a', sizeof text - 7);
    text[VERSION_MAX] = '\0';
    assert_int_equal(version_check(text, &e), 0);
    text[VERSION_MAX] = 'a';
    text[VERSION_MAX + 1] = '\0';
    assert_int_equal(version_check(text, &e), -1);
    assert_int_equal(e.code, ERR_BAD_VERSION);
}

/* Every pair of a rising list, both ways round. */
static void order(void **state)
{
    static const char *const rising[] = {
        "0.0.0-0", "0.0.0", "0.0.1", "0.9.0", "0.10.0", "1.0.0--", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.1.0", "1.0.0-alpha.beta",
        "1.0.0-beta",
        "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-beta.18446744073709551616", "1.0.0-beta.99999999999999999999999", "1.0.0-rc.1", "1.0.0", "1.0.1-1",
        "1.0.1-2",
        "1.0.1-10", "1.0.1-A", "1.0.1-a", "1.0.1-a-", "1.0.1-a-b", "1.0.1-aa", "1.0.1", "1.2.0", "1.10.0", "2.0.0", "18446744073709551616.0.0",
        "99999999999999999999999.0.0",
    };
    const size_t n = sizeof rising / sizeof *rising;
    struct err e = {0};

    (void)state;
    for (size_t a = 0; a < n; a++) {
        assert_int_equal(version_check(rising[a], &e), 0);
        for (size_t b = 0; b < n; b++) {
            int got = version_compare(rising[a], rising[b]);

            if ((got > 0) - (got < 0) != (a > b) - (a < b))
                fail_msg("%s against %s is %d", rising[a], rising[b], got);
        }
    }
}

static void build_does_not_count(void **state)
{
    static const char *const same[] = {"1.2.3-rc.1", "1.2.3-rc.1+a", "1.2.3-rc.1+b.2", "1.2.3-rc.1+0-0"};

    (void)state;
    for (size_t a = 0; a < 4; a++)
        for (size_t b = 0; b < 4; b++)
            assert_int_equal(version_compare(same[a], same[b]), 0);
    assert_int_equal(version_compare("1.2.3", "1.2.3+build"), 0);
    assert_true(version_compare("1.2.3+z", "1.2.4+a") < 0);
    assert_true(version_compare("1.2.3-rc.1+z", "1.2.3") < 0);
    assert_true(version_compare("1.2.3+a-b", "1.2.3-a") > 0); /* the hyphen of a build part is no pre-release */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts), cmocka_unit_test(refuses), cmocka_unit_test(length), cmocka_unit_test(order),
            cmocka_unit_test(build_does_not_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
