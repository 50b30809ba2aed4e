/* Points in time as text: RFC 3339 UTC with microseconds, "2026-03-03T08:09:10.123456Z". Time is int64_t microseconds since 1970 everywhere. */
#ifndef KMS_BASE_TIMEFMT_H
#define KMS_BASE_TIMEFMT_H

#include <stdint.h>

#define TIME_TEXT 28 /* with NUL */
#define TIME_SECOND INT64_C(1000000)

void time_format(int64_t us, char out[static TIME_TEXT]);
/* Exactly the form above, years 1970 to 9999, real dates. */
int time_parse(const char *text, int64_t *us) __attribute__((warn_unused_result));

#endif
