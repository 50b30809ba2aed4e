/* Tests of kmsd/supervisor/rank.c. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <cmocka.h>

#include "kmsd/supervisor/rank.h"

/* As many lanes as processors, or more: they take the processors in turn. */
static void shares_out(void **state)
{
    (void)state;
    for (unsigned lanes = 4; lanes <= 9; lanes++)
        for (unsigned n = 0; n < lanes; n++)
            assert_int_equal(rank_processor(CHILD_LANE_SIGN, n, lanes, 4), n % 4);
}

/* A processor without a lane is a better place for a lane that meets something else; on a single one there is nothing to choose. */
static void leaves_alone(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 3; n++)
        assert_int_equal(rank_processor(CHILD_LANE_SIGN, n, 3, 4), RANK_ANYWHERE);
    assert_int_equal(rank_processor(CHILD_LANE_SIGN, 0, 1, 1), RANK_ANYWHERE);
    assert_int_equal(rank_processor(CHILD_LANE_SIGN, 1, 2, 1), RANK_ANYWHERE);
}

/* Of two processors core and door of the CI clients have the second one, and whoever searches the first; all others, and they too on other machines, go where
 * the kernel likes. */
static void serves_from_the_second(void **state)
{
    (void)state;
    for (int role = CHILD_CORE; role <= CHILD_READER; role++) {
        bool serves = role == CHILD_CORE || role == CHILD_FRONT_CI, searches = role == CHILD_READER || role == CHILD_FRONT_ADMIN;

        if (role == CHILD_LANE_SIGN)
            continue;
        assert_int_equal(rank_processor((enum child_role)role, 0, 2, 2), serves ? 1 : searches ? 0 : RANK_ANYWHERE);
        assert_int_equal(rank_processor((enum child_role)role, 0, 1, 2), RANK_ANYWHERE);
        assert_int_equal(rank_processor((enum child_role)role, 0, 8, 3), RANK_ANYWHERE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(shares_out), cmocka_unit_test(leaves_alone), cmocka_unit_test(serves_from_the_second)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
