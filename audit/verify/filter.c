/* Which records somebody wants to see. */
#include "audit/verify/filter.h"

#include <stdio.h>
#include <string.h>

#include "audit/verify/schema.h"
#include "audit/verify/state.h"
#include "base/num.h"
#include "base/timefmt.h"

#define DAY (86400 * TIME_SECOND)

const struct filter FILTER_ALL = {.since = INT64_MIN, .until = INT64_MAX, .last = UINT64_MAX};

static bool same(const char *wanted, const json_t *object, const char *member)
{
    const char *text = json_string_value(json_object_get(object, member));

    return !wanted || (text && !strcmp(text, wanted));
}

/* "sign" stands for every event of that area. */
static bool same_event(const char *wanted, const char *ev)
{
    size_t n = wanted ? strlen(wanted) : 0;

    return !wanted || !strcmp(wanted, ev) || (!strchr(wanted, '.') && !strncmp(wanted, ev, n) && ev[n] == '.');
}

bool filter_outcome_exists(const char *outcome)
{
    static const char *const all[] = {"ok", "denied", "error", "intent"};

    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (!strcmp(all[i], outcome))
            return true;
    return false;
}

bool filter_event_known(const char *wanted)
{
    for (int i = 0; i < EVENT_COUNT; i++)
        if (same_event(wanted, event_name((enum event)i)))
            return true;
    return false;
}

bool filter_match(const struct filter *f, const json_t *record)
{
    const json_t *artifact = json_object_get(record, "artifact");
    uint64_t seq = count_of(record, "seq");
    int64_t at = 0;

    if (seq < f->first || seq > f->last || !same_event(f->event, text_of(record, "event")) || !same(f->outcome, record, "outcome"))
        return false;
    if (!same(f->actor, json_object_get(record, "actor"), "name") || !same(f->key, json_object_get(record, "key"), "name"))
        return false;
    if (!same(f->app, artifact, "app") || !same(f->channel, artifact, "channel") || !same(f->version, artifact, "version"))
        return false;
    if (f->since == INT64_MIN && f->until == INT64_MAX)
        return true;
    return !time_parse(text_of(record, "time"), &at) && at >= f->since && at < f->until;
}

static int number(const char *text, size_t len, uint64_t dflt, uint64_t *out)
{
    if (len)
        return num_parse_u64(text, len, 0, JSON_INT_MAX, out);
    *out = dflt;
    return 0;
}

int filter_seq(struct filter *f, const char *text)
{
    const char *dash = strchr(text, '-');

    if (!dash)
        return number(text, strlen(text), 0, &f->first) || !*text ? -1 : (f->last = f->first, 0);
    if (!text[1] || number(text, (size_t)(dash - text), 0, &f->first) || number(dash + 1, strlen(dash + 1), UINT64_MAX, &f->last))
        return -1;
    return f->first > f->last ? -1 : 0;
}

int filter_time(const char *text, bool until, int64_t *out)
{
    char full[64];
    size_t n = strlen(text);

    if (n == strlen("2026-03-03")) {
        (void)snprintf(full, sizeof full, "%sT00:00:00.000000Z", text);
        if (time_parse(full, out))
            return -1;
        *out += until ? DAY : 0;
        return 0;
    }
    if (n == strlen("2026-03-03T08:09:10Z") && text[n - 1] == 'Z') {
        (void)snprintf(full, sizeof full, "%.19s.000000Z", text);
        return time_parse(full, out);
    }
    return time_parse(text, out);
}
