/* Prometheus' text format: names, labels, escapes, numbers, histograms. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/prom.h"

static void escapes(void **state)
{
    BUF_AUTO out = BUF_INIT(4096);
    const struct prom_label labels[] = {{"a", "x\"y\\z\nw"}, {"b", ""}};

    (void)state;
    prom_family(&out, "kmsd_x_total", "counter", "one\\two\nthree \"four\"");
    prom_put(&out, "kmsd_x_total", labels, 2, -7);
    assert_string_equal(buf_str(&out), "# HELP kmsd_x_total one\\\\two\\nthree \"four\"\n# TYPE kmsd_x_total counter\n"
                                       "kmsd_x_total{a=\"x\\\"y\\\\z\\nw\",b=\"\"} -7\n");
}

static void seconds(void **state)
{
    static const struct {
        int64_t us;
        const char *text;
    } table[] = {{0, "n 0\n"},          {1, "n 0.000001\n"},     {500, "n 0.0005\n"},  {1000000, "n 1\n"},           {1500000, "n 1.5\n"},
                 {-250000, "n -0.25\n"}, {10000001, "n 10.000001\n"}, {100, "n 0.0001\n"}, {INT64_MIN, "n -9223372036854.775808\n"}};

    (void)state;
    for (size_t n = 0; n < sizeof table / sizeof *table; n++) {
        BUF_AUTO out = BUF_INIT(128);

        prom_put_us(&out, "n", NULL, 0, table[n].us);
        assert_string_equal(buf_str(&out), table[n].text);
    }
}

/* A time at a bound counts below it; the last bucket has everything. */
static void times(void **state)
{
    struct prom_times t = {0};
    const struct prom_label label = {"stage", "lane"};
    BUF_AUTO out = BUF_INIT(8192);

    (void)state;
    prom_observe(&t, 500);
    prom_observe(&t, 501);
    prom_observe(&t, -3); /* no clock goes back; if one did, it took no time */
    prom_observe(&t, INT64_C(60) * 1000000);
    prom_put_times(&out, "d_seconds", &label, 1, &t);
    assert_non_null(strstr(buf_str(&out), "d_seconds_bucket{stage=\"lane\",le=\"0.0005\"} 2\n"));
    assert_non_null(strstr(buf_str(&out), "d_seconds_bucket{stage=\"lane\",le=\"0.001\"} 3\n"));
    assert_non_null(strstr(buf_str(&out), "d_seconds_bucket{stage=\"lane\",le=\"10\"} 3\n"));
    assert_non_null(strstr(buf_str(&out), "d_seconds_bucket{stage=\"lane\",le=\"+Inf\"} 4\n"));
    assert_non_null(strstr(buf_str(&out), "d_seconds_sum{stage=\"lane\"} 60.001001\nd_seconds_count{stage=\"lane\"} 4\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(escapes), cmocka_unit_test(seconds), cmocka_unit_test(times)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
