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

/* What the lanes have made when the key is stopped is thrown away; what is asked for later never reaches them. */
static void stopped_while_many_sign(struct sim *s)
{
    static const char *const verbs[] = {"suspend", "resume", "compromise"};
    unsigned before;

    settle(s);
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned n = 0; n < SIM_NAMES - 1; n++)
            sim_ask_sign(s, n % 2, 1 + round, n, 0);
        for (unsigned n = 0; n < 3 * round; n++)
            sim_lane_step(s);
        sim_order(s, "release", verbs[round], 0);
        before = s->signed_ok;
        settle(s);
        if (round != 1 && s->signed_ok > before + 3 * round)
            sim_fail(s, "%u signatures were given out though the key was stopped before they were recorded", s->signed_ok - before);
    }
    before = s->signed_ok;
    for (unsigned n = 0; n < SIM_NAMES - 1; n++)
        sim_ask_sign(s, n % 2, 2, n, 0);
    settle(s);
    if (s->signed_ok != before)
        sim_fail(s, "what a compromised key signed is handed out again");
}

/* The stored answers of a key follow its state: withheld while it is suspended, given again, and never again. */
static void stored_answers(struct sim *s)
{
    static const struct {
        const char *verb;
        bool given;
    } rounds[] = {{NULL, true}, {NULL, true}, {"suspend", false}, {"resume", true}, {"compromise", false}};
    unsigned before;

    settle(s);
    for (size_t n = 0; n < sizeof rounds / sizeof *rounds; n++) {
        if (rounds[n].verb)
            sim_order(s, "release", rounds[n].verb, 0);
        settle(s);
        before = s->signed_ok;
        sim_ask_again(s, 2);
        settle(s);
        if (s->signed_ok != before + rounds[n].given)
            sim_fail(s, "round %zu: the stored answer is %s", n, rounds[n].given ? "withheld" : "given");
    }
}

static void pass(struct sim *s, unsigned seconds)
{
    for (unsigned n = 0; n < seconds * 10; n++) {
        sim_pass(s, 100000);
        core_on_tick(s->core, s->now);
        sim_lane_step(s);
        sim_disk_step(s);
    }
    settle(s);
}

static void expect(struct sim *s, const char *key, const char *state)
{
    sim_check(s);
    if (strcmp(sim_life_state(&s->model, key), state))
        sim_fail(s, "key %s is %s, not %s", key, sim_life_state(&s->model, key), state);
}

/* Not before it is due, not while the clock is in doubt, not after it was called off; and then in spite of every death. */
static void destroyed_when_due(struct sim *s)
{
    s->calm = true;
    settle(s);
    for (unsigned n = 0; n < 2; n++)
        sim_order(s, n ? "k1" : "k0", "suspend", 0);
    sim_order(s, "k0", "destroy", 60);
    sim_order(s, "k1", "destroy", 60);
    pass(s, 50);
    sim_order(s, "k1", "restore", 0);
    pass(s, 5);
    expect(s, "k0", "destroying");
    sim_clock_set(s, INT64_C(3600000000));
    pass(s, 30);
    if (s->destroyed)
        sim_fail(s, "a key is removed while the clock is in doubt");
    sim_clock_set(s, -INT64_C(3600000000));
    pass(s, 30);
    sim_confirm(s);
    for (unsigned n = 0; n < 40 && !sim_life_begun(&s->model); n++) {
        sim_pass(s, 100000000);
        core_on_tick(s->core, s->now);
        sim_disk_step(s);
        sim_check(s);
    }
    if (!sim_life_begun(&s->model) || s->destroyed)
        sim_fail(s, "the removal does not begin once the clock is right again");
    sim_kill(s);
    pass(s, 30);
    expect(s, "k0", "destroyed");
    expect(s, "k1", "suspended");
    if (s->destroyed != 1)
        sim_fail(s, "%u keys were removed, not one", s->destroyed);
}

static void expect_many(struct sim *s, unsigned heard, unsigned busy, const char *when)
{
    if (s->many.heard != heard || s->many.busy != busy)
        sim_fail(s, "%s %u batches were answered and %u refused, not %u and %u", when, s->many.heard, s->many.busy, heard, busy);
}

/* A batch counts as many requests as it has items, until its answer has left: more than the core works on are refused as a whole, at once, and those that
 * come alone find room beside them. */
static void large_batches(struct sim *s)
{
    settle(s);
    sim_ask_sign(s, 0, 9, 0, 0);
    for (unsigned n = 0; n < 7; n++)
        sim_ask_many(s, 1, 1000);
    expect_many(s, 0, 1, "while six thousand items wait");
    sim_ask_many(s, 1, 100);
    sim_ask_sign(s, 0, 9, 1, 0);
    expect_many(s, 0, 1, "where a small one fits");
    for (unsigned n = 0; n < SIM_PENDING_MAX; n++)
        sim_lane_step(s);
    for (unsigned n = 0; n < 3; n++)
        sim_ask_many(s, 1, 1000);
    expect_many(s, 0, 2, "while the answers of eight thousand wait for the disk");
    settle(s);
    expect_many(s, 9, 2, "afterwards");
    sim_ask_many(s, 9, SIM_NAMES);
    settle(s);
    expect_many(s, 10, 2, "in the end");
    if (s->many.items != 8100 + SIM_NAMES || s->many.failed != 8100 || s->signed_ok != 2)
        sim_fail(s, "%u of %u items of large batches failed, %u others were signed", s->many.failed, s->many.items, s->signed_ok);
}

/* A day ahead at least; and a start does not trust its clock at once. */
static void destroyed_in_production(struct sim *s)
{
    s->calm = true;
    settle(s);
    sim_order(s, "k0", "suspend", 0);
    sim_order(s, "k0", "destroy", 23);
    settle(s);
    expect(s, "k0", "suspended");
    sim_order(s, "k0", "destroy", 24);
    settle(s);
    expect(s, "k0", "destroying");
    for (unsigned n = 0; n < 24 * 36 - 1; n++) {
        sim_pass(s, 100000000);
        core_on_tick(s->core, s->now);
        settle(s);
    }
    sim_kill(s);
    pass(s, 500);
    if (sim_life_begun(&s->model) || s->destroyed)
        sim_fail(s, "a key is removed before the clock of a new start can be trusted");
    pass(s, 200);
    expect(s, "k0", "destroyed");
}

static int64_t turn(struct sim *s)
{
    return core_turn(s->core, s->now - s->set);
}

/* Asks for that many signatures at once and lets the lanes answer some of them; how long the core would wait for the rest then. */
static int64_t ask_and_answer(struct sim *s, unsigned from, unsigned asked, unsigned answered)
{
    uint64_t wanted = core_state(s->core)->chain.next_seq + answered;

    for (unsigned n = from; n < from + asked; n++)
        sim_ask_sign(s, 0, 1, n, n);
    for (unsigned n = 0; n < 1000 && core_state(s->core)->chain.next_seq < wanted; n++)
        sim_lane_step(s);
    if (core_state(s->core)->chain.next_seq != wanted)
        sim_fail(s, "%u of %u signatures are not recorded", answered, asked);
    return turn(s);
}

/* A record alone, and a turn of the disk of that length. */
static void sign_alone(struct sim *s, unsigned which, int64_t sync, const char *what)
{
    if (ask_and_answer(s, which, 1, 1) != -1 || !s->syncing)
        sim_fail(s, "%s", what);
    sim_pass(s, sync);
    sim_disk_step(s);
}

/* A record waits for the signatures that lanes have in hand, two turns of the disk at most; for nothing where there are none, or where most are there. */
static void groups_wait_for_signatures(struct sim *s)
{
    const int64_t sync = 300;

    sim_lanes_heal(s);
    settle(s);
    sim_pass(s, 200000);
    for (unsigned n = 0; n < 2; n++)
        sign_alone(s, n, sync, "a lone record waits for others");
    if (ask_and_answer(s, 2, 3, 1) != 2 * sync || s->syncing)
        sim_fail(s, "the first of three records does not wait two turns of the disk");
    sim_pass(s, 2 * sync - 1);
    if (turn(s) != 1)
        sim_fail(s, "a record does not know how long it has waited");
    sim_pass(s, 1);
    if (turn(s) != -1 || !s->syncing)
        sim_fail(s, "a record waits longer than two turns of the disk");
    settle(s);
    if (ask_and_answer(s, 5, 3, 2) != -1 || !s->syncing)
        sim_fail(s, "two records wait for the third");
    settle(s);
}

/* Where many were in hand a moment ago, those answered last are waited for, although no lane works: until a fourth of as many is there, two turns of the disk at
 * most, and for no longer than a tenth or two of a second without such a crowd. */
static void groups_wait_for_a_crowd(struct sim *s)
{
    const int64_t sync = 300;

    sim_lanes_heal(s);
    settle(s);
    sim_pass(s, 200000);
    if (ask_and_answer(s, 0, 12, 12) != -1 || !s->syncing)
        sim_fail(s, "twelve records wait for others");
    sim_pass(s, sync);
    sim_disk_step(s);
    if (ask_and_answer(s, 12, 1, 1) != 2 * sync || s->syncing)
        sim_fail(s, "the first of twelve that ask again does not wait two turns of the disk");
    if (ask_and_answer(s, 13, 2, 2) != -1 || !s->syncing)
        sim_fail(s, "a fourth of those that were in hand waits for more");
    sim_pass(s, sync);
    sim_disk_step(s);
    sim_pass(s, 200000);
    sign_alone(s, 15, sync, "a crowd is waited for that has long gone");
}

/* Those who want an answer that is stored already bring no record, so nobody waits for them, many as they may be. */
static void groups_wait_for_no_reader(struct sim *s)
{
    const int64_t sync = 300;

    sim_lanes_heal(s);
    settle(s);
    sim_ask_again(s, 2);
    settle(s);
    sim_pass(s, 200000);
    sign_alone(s, 20, sync, "a lone record waits for others");
    if (ask_and_answer(s, 21, 1, 1) != -1 || !s->syncing)
        sim_fail(s, "a lone record waits for others");
    for (unsigned n = 0; n < 8; n++)
        sim_ask_again(s, 2);
    sim_pass(s, sync);
    sim_disk_step(s);
    sign_alone(s, 22, sync, "a record waits for those that bring none");
}

static const struct {
    const char *name;
    void (*run)(struct sim *s);
    bool production;
} SCENES[] = {{"many wait for one signature", many_wait, false}, {"refused from everywhere", refused_from_everywhere, false},
              {"lanes that do not sign", sim_no_signatures_scene, false},
              {"groups wait for signatures", groups_wait_for_signatures, false},
              {"groups wait for a crowd", groups_wait_for_a_crowd, false},
              {"groups wait for no reader", groups_wait_for_no_reader, false},
              {"stopped while many wait", stopped_while_many_wait, false},
              {"large batches", large_batches, false},
              {"a key is stopped while many sign", stopped_while_many_sign, false},
              {"stored answers follow their key", stored_answers, false},
              {"a key is destroyed when that is due", destroyed_when_due, false},
              {"a key is destroyed in production", destroyed_in_production, true},
              {"clock is set", clock_is_set, false},
              {"searches while the reader fails", sim_search_scene, false}};

int sim_scenes(const struct sim_keys *keys)
{
    int failed = 0;

    for (size_t n = 0; n < sizeof SCENES / sizeof *SCENES; n++) {
        struct sim *s = SCENES[n].production ? sim_new_production(keys, 1) : sim_new(keys, 1);

        SCENES[n].run(s);
        if (s->failure[0]) {
            printf("scene \"%s\": %s\n", SCENES[n].name, s->failure);
            failed = 1;
        }
        sim_free(s);
    }
    return failed;
}
