/* Which records somebody wants to see. */
#ifndef KMS_VERIFY_FILTER_H
#define KMS_VERIFY_FILTER_H

#include "base/json.h"

struct filter {
    const char *event, *key, *actor, *app, *channel, *version, *outcome; /* NULL = any */
    int64_t since, until;      /* microseconds; until is exclusive */
    uint64_t first, last;      /* seq */
};
extern const struct filter FILTER_ALL;
bool filter_match(const struct filter *f, const json_t *record);
/* Whether there can be records with that outcome, and whether this program knows such an event or area: a log of a newer service may have others. */
bool filter_outcome_exists(const char *outcome);
bool filter_event_known(const char *wanted);
/* "A-B", "A-", "-B" or "A". */
int filter_seq(struct filter *f, const char *text) __attribute__((warn_unused_result));
/* "2026-03-03", "2026-03-03T08:09:10Z" or with six decimals; UTC. until: a date means up to its end. */
int filter_time(const char *text, bool until, int64_t *out) __attribute__((warn_unused_result));

#endif
