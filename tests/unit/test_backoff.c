/* Tests of the back-off of kmsd/supervisor/children.c. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "kmsd/supervisor/children.h"

#define SECOND INT64_C(1000000)

/* At once, then 0.1 s, doubling up to 30 s and staying there. */
static void grows(void **state)
{
    int64_t backoff = 0, want = BACKOFF_FIRST_US, now = 5 * SECOND;

    (void)state;
    assert_int_equal(backoff_next(&backoff, now, now + 1), 0);
    for (unsigned n = 0; n < 20; n++) {
        assert_int_equal(backoff_next(&backoff, now, now + SECOND), want);
        want = 2 * want < BACKOFF_MAX_US ? 2 * want : BACKOFF_MAX_US;
    }
    assert_int_equal(want, 30 * SECOND);
}

/* Who lived ten seconds starts again at once, and begins anew. */
static void forgives(void **state)
{
    int64_t backoff = 0;

    (void)state;
    for (unsigned n = 0; n < 12; n++)
        (void)backoff_next(&backoff, 0, SECOND);
    assert_int_equal(backoff, BACKOFF_MAX_US);
    assert_int_equal(backoff_next(&backoff, 0, BACKOFF_LIVED_US), 0);
    assert_int_equal(backoff_next(&backoff, 0, SECOND), BACKOFF_FIRST_US);
    assert_int_equal(backoff_next(&backoff, 0, BACKOFF_LIVED_US - 1), 2 * BACKOFF_FIRST_US);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(grows), cmocka_unit_test(forgives)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
