/* The clocks. The wall clock can be set: it dates records and judges certificates. The time since the machine started cannot: periods are counted on it, and
 * it shows that the wall clock was set. */
#include <inttypes.h>

#include "base/num.h"
#include "base/timefmt.h"
#include "kmsd/core/internal.h"

#define STEP_US (300 * TIME_SECOND_US)

void clock_start(struct core *c, int64_t wall_us, int64_t boot_us)
{
    c->clock.boot = boot_us;
    c->clock.offset = wall_us - boot_us;
    clock_see(c, wall_us);
}

void clock_see(struct core *c, int64_t wall_us)
{
    c->clock.wall = wall_us;
    if (wall_us > c->now)
        c->now = wall_us;
    if (c->state->chain.time > c->now)
        c->now = c->state->chain.time;
}

static int record_step(struct core *c, int64_t from, int64_t to, struct err *e)
{
    json_t *record = record_new("time.step", "ok", &actor_system, "");
    char from_text[TIME_TEXT], to_text[TIME_TEXT];

    time_format(from, from_text);
    time_format(to, to_text);
    json_object_set_new(record, "detail", json_pack("{s:s, s:I, s:s}", "from", from_text, "seconds", (json_int_t)((to - from) / TIME_SECOND_US), "to", to_text));
    return commit(c, record, e);
}

/* What it should show is counted from the last step, not from the last look: many small steps are as good as a large one. Where there is no room for the
 * record the step stays open. */
void core_on_clock(struct core *c, int64_t wall_us, int64_t boot_us)
{
    int64_t should = boot_us + c->clock.offset, off = wall_us - should;
    BUF_AUTO text = BUF_INIT(160);
    struct err e = {0};

    clock_see(c, wall_us);
    c->clock.boot = boot_us;
    if ((off <= STEP_US && off >= -STEP_US) || c->stop_written)
        return;
    if (record_step(c, should, wall_us, &e)) {
        if (e.code != ERR_LOG_UNAVAILABLE)
            commit_lost(c, "time.step", &e);
        return;
    }
    c->clock.offset = wall_us - boot_us;
    buf_printf(&text, "the clock was set by %" PRId64 " seconds; if that was meant: kmsctl time confirm --seq %" PRIu64, off / TIME_SECOND_US,
               c->state->time_step);
    c->io.note(c->io.ctx, CORE_NOTE_WARNING, "time.step", buf_str(&text));
}

bool clock_steady(const struct core *c)
{
    int64_t off = c->clock.wall - (c->clock.boot + c->clock.offset);

    return !c->state->time_frozen && off <= STEP_US && off >= -STEP_US;
}

json_t *clock_view(const struct core *c)
{
    json_t *view = json_pack("{s:b}", "frozen", (int)c->state->time_frozen);

    if (c->state->time_frozen)
        json_object_set_new(view, "step", json_integer((json_int_t)c->state->time_step));
    return view;
}

int time_confirm(struct core *c, struct request *rq, struct err *e)
{
    struct json_reader r;
    const char *reason;
    json_t *record;
    int64_t seq;
    int verdict;

    if (request_json(rq, &r, e) || json_get_int(&r, "seq", 0, JSON_INT_MAX, &seq, e) || json_get_str(&r, "reason", 500, &reason, e) ||
        json_done(&r, e) || reason_check(reason, e) || authorise(c, rq, NULL, NULL, NULL, e))
        return -1;
    verdict = idem_check(c, rq, e);
    if (verdict)
        return verdict < 0 ? -1 : 0;
    if (!c->state->time_frozen)
        return err_set(e, ERR_STEP_NOT_OPEN, "no step of the clock waits for a confirmation");
    if ((uint64_t)seq != c->state->time_step)
        return err_set(e, ERR_STEP_NOT_OPEN, "the step that waits for a confirmation is record %" PRIu64, c->state->time_step);
    record = record_change(c, rq, "time.confirm", "ok", e);
    if (!record)
        return -1;
    record_text(record, "reason", reason);
    json_object_set_new(record, "detail", json_pack("{s:I}", "seq", (json_int_t)seq));
    return commit_answer(c, rq, record, e);
}
