/* Written schedules: what random ones reach too seldom. */
#include <stdio.h>
#include <string.h>

#include "tests/sim/sim.h"

/* Disk and lanes work until nothing is left to do; no time passes. */
static void settle(struct sim *s)
{
    for (unsigned n = 0; n < 4 * SIM_PENDING_MAX && !s->failure[0]; n++) {
        sim_lane_step(s);
        sim_disk_step(s);
    }
    sim_check(s);
}

/* Everybody who waits for the same outcome hears of it, not only the first ones. */
static void many_wait(struct sim *s)
{
    settle(s);
    for (unsigned n = 0; n < 200; n++)
        sim_ask_sign(s, 0, 1, 0, 0);
    settle(s);
    if (s->signed_ok != 200)
        sim_fail(s, "%u of 200 requests for one signature were answered", s->signed_ok);
}

static unsigned denied(const struct sim *s, const char *name)
{
    BUF_AUTO actor = BUF_INIT(128);
    const char *at = (const char *)s->durable.data, *end = at + s->durable.len;
    unsigned n = 0;

    buf_printf(&actor, "\"name\":\"%s\"},", name);
    for (const char *lf; at < end; at = lf + 1) {
        lf = memchr(at, '\n', (size_t)(end - at));
        n += memmem(at, (size_t)(lf - at), "\"outcome\":\"denied\"", 18) && memmem(at, (size_t)(lf - at), buf_str(&actor), actor.len);
    }
    return n;
}

/* One who asks from many addresses neither fills the log nor keeps the refusals of others out of it. */
static void refused_from_everywhere(struct sim *s)
{
    settle(s);
    sim_ask_sign(s, 0, 5, 0, 0);
    settle(s);
    for (unsigned n = 0; n < 12000; n++) {
        (void)snprintf(s->source, sizeof s->source, "2001:db8::%u", n % 1100);
        sim_ask_sign(s, 0, 1, 0, 0);
        sim_disk_step(s);
    }
    sim_ask_sign(s, 1, 1, 0, 0);
    settle(s);
    if (denied(s, "ci-a") > 700)
        sim_fail(s, "one job filled the log with %u refusals within a minute", denied(s, "ci-a"));
    if (denied(s, "ci-b") != 1)
        sim_fail(s, "the refusal of another job is not in the log");
}

/* A stop lets those end that are under way or wait, with the lanes dying meanwhile, and writes its record last. */
static void stopped_while_many_wait(struct sim *s)
{
    const char *last;

    settle(s);
    for (unsigned n = 0; n < 100; n++)
        sim_ask_sign(s, n % 2, 1 + n % 3, n % 4, 0);
    core_on_stop(s->core, "SIGTERM", s->now);
    for (unsigned n = 0; n < 400 && !core_finished(s->core) && !s->failure[0]; n++) {
        if (n % 3)
            sim_lane_fault(s);
        else
            sim_lane_step(s);
        sim_client_step(s);
        sim_disk_step(s);
        sim_pass(s, 100000);
        core_on_tick(s->core, s->now);
    }
    if (!core_finished(s->core))
        sim_fail(s, "the core did not stop");
    sim_check(s);
    for (unsigned n = 0; n < SIM_PENDING_MAX; n++)
        if (s->request[n].used)
            sim_fail(s, "a request was left without an answer");
    s->durable.data[s->durable.len - 1] = '\0';
    last = memrchr(s->durable.data, '\n', s->durable.len);
    if (!last || !strstr(last, "\"daemon.stop\""))
        sim_fail(s, "something was written behind daemon.stop");
}

static void set_clock(struct sim *s, int64_t by, unsigned steps, const char *what)
{
    unsigned before = s->clock_steps;

    sim_clock_set(s, by);
    for (unsigned n = 0; n < 20; n++) {
        sim_pass(s, 100000);
        settle(s);
    }
    if (s->clock_steps != before + steps)
        sim_fail(s, "%s: %u steps of the clock were recorded, not %u", what, s->clock_steps - before, steps);
}

/* Periods pass whatever the wall clock shows: without any lane a request is refused in time. */
static void refused_in_time(struct sim *s)
{
    for (unsigned n = 0; n <= SIM_LANES; n++) {
        sim_lane_told_to_end(s, s->lane[n].role, s->lane[n].index);
        core_on_child(s->core, s->lane[n].role, s->lane[n].index, false, "ended", s->now);
    }
    sim_ask_sign(s, 0, 2, 1, 0);
    for (unsigned n = 0; n < 50; n++) {
        sim_pass(s, 100000);
        core_on_tick(s->core, s->now);
        sim_disk_step(s);
    }
    for (unsigned n = 0; n < SIM_PENDING_MAX; n++)
        if (s->request[n].used)
            sim_fail(s, "a request still waits for a lane, five seconds after it came");
    settle(s);
}

/* A large step is recorded once, wherever it leads; small ones only when they add up; and the service goes on, with periods that nobody can stretch. */
static void clock_is_set(struct sim *s)
{
    const int64_t minute = 60000000, year = 365 * 24 * 60 * minute;

    settle(s);
    set_clock(s, 5 * minute, 0, "five minutes");
    set_clock(s, 1, 1, "a microsecond more");
    set_clock(s, -4 * minute, 0, "four minutes back");
    set_clock(s, -2 * minute, 1, "and two more");
    set_clock(s, year, 1, "a year");
    sim_ask_sign(s, 0, 1, 0, 0);
    settle(s);
    set_clock(s, -year, 1, "a year back");
    sim_ask_sign(s, 0, 2, 0, 0);
    settle(s);
    refused_in_time(s);
    if (s->signed_ok != 2)
        sim_fail(s, "%u of 2 signatures were made while the clock was set", s->signed_ok);
    sim_disk_fill(s);
    s->room = 200u << 10;
    core_on_room(s->core, &(struct core_room){s->room, UINT64_C(1) << 30}, s->now);
    set_clock(s, 60 * minute, 0, "an hour, without room");
    sim_disk_fill(s);
    settle(s);
    set_clock(s, 0, 1, "as soon as there is room");
}

static const struct {
    const char *name;
    void (*run)(struct sim *s);
} SCENES[] = {{"many wait for one signature", many_wait}, {"refused from everywhere", refused_from_everywhere},
              {"stopped while many wait", stopped_while_many_wait},
              {"clock is set", clock_is_set}};

int sim_scenes(const struct sim_keys *keys)
{
    int failed = 0;

    for (size_t n = 0; n < sizeof SCENES / sizeof *SCENES; n++) {
        struct sim *s = sim_new(keys, 1);

        SCENES[n].run(s);
        if (s->failure[0]) {
            printf("scene \"%s\": %s\n", SCENES[n].name, s->failure);
            failed = 1;
        }
        sim_free(s);
    }
    return failed;
}
