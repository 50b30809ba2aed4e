/* Tests of base/timefmt.c. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/timefmt.h"

static const struct {
    int64_t us;
    const char *text;
} points[] = {
    {0, "1970-01-01T00:00:00.000000Z"},
    {INT64_C(951782399999999), "2000-02-28T23:59:59.999999Z"},
    {INT64_C(951782400000000), "2000-02-29T00:00:00.000000Z"},
    {INT64_C(951868800000001), "2000-03-01T00:00:00.000001Z"},
    {INT64_C(1772525350123456), "2026-03-03T08:09:10.123456Z"},
    {INT64_C(4107542399000000), "2100-02-28T23:59:59.000000Z"},
    {INT64_C(4107542400000000), "2100-03-01T00:00:00.000000Z"},
    {INT64_C(253402300799999999), "9999-12-31T23:59:59.999999Z"},
};

static void both_ways(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
        char text[TIME_TEXT];
        int64_t us = -1;
        time_format(points[i].us, text);
        assert_string_equal(text, points[i].text);
        assert_int_equal(time_parse(points[i].text, &us), 0);
        assert_true(us == points[i].us);
    }
}

static void every_day(void **state)
{
    (void)state;
    for (int64_t day = 0; day < 2932897; day += 13) {
        char text[TIME_TEXT];
        int64_t us, want = day * 86400 * TIME_SECOND + 86399 * TIME_SECOND;
        time_format(want, text);
        assert_int_equal(time_parse(text, &us), 0);
        assert_true(us == want);
    }
}

static void refuses(void **state)
{
    static const char *const bad[] = {
        "", "2026-03-03", "2026-03-03T08:09:10Z", "2026-03-03T08:09:10.123Z", "2026-03-03 08:09:10.123456Z", "2026-03-03t08:09:10.123456z",
        "2026-03-03T08:09:10.123456+00:00", "2026-03-03T08:09:10.123456Z ", "2026-02-29T00:00:00.000000Z", "2100-02-29T00:00:00.000000Z",
        "2026-04-31T00:00:00.000000Z", "2026-13-01T00:00:00.000000Z", "2026-00-01T00:00:00.000000Z", "2026-01-00T00:00:00.000000Z",
        "2026-01-32T00:00:00.000000Z", "2026-01-01T24:00:00.000000Z", "2026-01-01T00:60:00.000000Z", "2026-12-31T23:59:60.000000Z",
        "1969-12-31T23:59:59.999999Z", "0000-01-01T00:00:00.000000Z", "2026-03-03T08:09:10.12345xZ", "+026-03-03T08:09:10.123456Z",
    };
    int64_t us = 5;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(time_parse(bad[i], &us), -1);
    assert_int_equal(us, 5);
}

static void clamps(void **state)
{
    char text[TIME_TEXT];

    (void)state;
    time_format(-1, text);
    assert_string_equal(text, points[0].text);
    time_format(INT64_MAX, text);
    assert_string_equal(text, "9999-12-31T23:59:59.999999Z");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(both_ways), cmocka_unit_test(every_day), cmocka_unit_test(refuses), cmocka_unit_test(clamps)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
