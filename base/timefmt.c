/* Points in time as RFC 3339 text. */
#include "base/timefmt.h"

#include <stddef.h>
#include <string.h>

#define DAY INT64_C(86400)
#define LAST_DAY INT64_C(2932896) /* 9999-12-31 */

struct date {
    int64_t year, month, day;
};

/* Proleptic Gregorian calendar in years that begin on 1 March, so that the leap day is the last of its year and months follow one formula. */
static int64_t days_of(struct date d)
{
    int64_t year = d.year - (d.month <= 2), month = (d.month + 9) % 12;

    return year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + d.day - 1 - 719468;
}

static struct date date_of(int64_t days)
{
    int64_t z = days + 719468, era = z / 146097, in_era = z % 146097;
    int64_t year = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
    int64_t in_year = in_era - (year * 365 + year / 4 - year / 100), m = (in_year * 5 + 2) / 153;
    struct date d = {.month = m < 10 ? m + 3 : m - 9, .day = in_year - (m * 153 + 2) / 5 + 1};

    d.year = year + era * 400 + (d.month <= 2);
    return d;
}

static void put_digits(char *out, size_t n, int64_t value)
{
    while (n--) {
        out[n] = (char)('0' + value % 10);
        value /= 10;
    }
}

/* Where each number stands in the text, in reading order. */
enum { YEAR, MONTH, DAY_OF_MONTH, HOUR, MINUTE, SECOND, MICRO, N_PARTS };
static const struct {
    unsigned char at, n;
} part[N_PARTS] = {{0, 4}, {5, 2}, {8, 2}, {11, 2}, {14, 2}, {17, 2}, {20, 6}};
static const char skeleton[TIME_TEXT] = "0000-00-00T00:00:00.000000Z";

void time_format(int64_t us, char out[static TIME_TEXT])
{
    const int64_t last = (LAST_DAY + 1) * DAY * TIME_SECOND - 1;
    int64_t t = us < 0 ? 0 : us > last ? last : us, seconds = t / TIME_SECOND, s = seconds % DAY;
    struct date d = date_of(seconds / DAY);
    const int64_t value[N_PARTS] = {d.year, d.month, d.day, s / 3600, s / 60 % 60, s % 60, t % TIME_SECOND};

    memcpy(out, skeleton, TIME_TEXT);
    for (size_t i = 0; i < N_PARTS; i++)
        put_digits(out + part[i].at, part[i].n, value[i]);
}

static int shape_check(const char *text)
{
    if (strnlen(text, TIME_TEXT) != TIME_TEXT - 1)
        return -1;
    for (size_t i = 0; i < TIME_TEXT - 1; i++)
        if (skeleton[i] == '0' ? text[i] < '0' || text[i] > '9' : text[i] != skeleton[i])
            return -1;
    return 0;
}

int time_parse(const char *text, int64_t *us)
{
    int64_t v[N_PARTS] = {0};

    if (shape_check(text))
        return -1;
    for (size_t i = 0; i < N_PARTS; i++)
        for (size_t k = 0; k < part[i].n; k++)
            v[i] = v[i] * 10 + (text[part[i].at + k] - '0');
    if (v[YEAR] < 1970 || v[MONTH] < 1 || v[MONTH] > 12 || v[HOUR] > 23 || v[MINUTE] > 59 || v[SECOND] > 59)
        return -1;
    int64_t days = days_of((struct date){v[YEAR], v[MONTH], v[DAY_OF_MONTH]});
    struct date back = date_of(days);
    /* A day that its month does not have comes back as another date. */
    if (days < 0 || back.month != v[MONTH] || back.day != v[DAY_OF_MONTH])
        return -1;
    *us = (days * DAY + v[HOUR] * 3600 + v[MINUTE] * 60 + v[SECOND]) * TIME_SECOND + v[MICRO];
    return 0;
}
