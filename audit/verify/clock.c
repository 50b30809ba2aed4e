/* Steps of the wall clock: that each is one, and that a person confirms the newest one that nobody has confirmed. */
#include <string.h>

#include "audit/verify/check.h"
#include "base/timefmt.h"

#define STEP_US (300 * TIME_SECOND) /* what is less is no step */

void time_step_check(struct check *c, const struct record *r)
{
    int64_t from = 0, to = 0, seconds = json_integer_value(json_object_get(r->detail, "seconds"));
    bool times = !time_parse(text_of(r->detail, "from"), &from) && !time_parse(text_of(r->detail, "to"), &to);

    if (!times || (to - from) / TIME_SECOND != seconds || (to - from <= STEP_US && from - to <= STEP_US))
        (void)check_fail(c, r, FINDING_INVALID, "its two times are no step of the clock by so many seconds");
    else
        report_note(c->report, "record %llu: the clock was set by %lld seconds, to %s", (unsigned long long)r->seq, (long long)seconds, text_of(r->detail, "to"));
    c->state.time_step = r->seq;
}

void time_confirm_check(struct check *c, const struct record *r)
{
    uint64_t seq = count_of(r->detail, "seq");
    JSON_AUTO *body = NULL;

    if (r->outcome != OUTCOME_OK)
        return;
    body = request_json(c, r, "POST", "/v1/time/confirm");
    if (body && (!json_is_integer(json_object_get(body, "seq")) || count_of(body, "seq") != seq ||
                 strcmp(text_of(body, "reason"), text_of(r->json, "reason")) || json_object_size(body) != 2))
        (void)check_fail(c, r, FINDING_INVALID, "the signed request confirms something else");
    if (!c->state.time_step || seq != c->state.time_step)
        (void)check_lacks(c, r, "record %llu is not the newest step of the clock, or was confirmed before", (unsigned long long)seq);
    else
        c->state.time_step = 0;
}
