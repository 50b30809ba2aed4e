/* Runs seeded schedules of the real core against a hostile world and prints the seed of one that breaks a promise. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

uint64_t sim_random(struct sim *s, uint64_t below)
{
    uint64_t z = (s->rng += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (z ^ (z >> 31)) % below;
}

void sim_fail(struct sim *s, const char *fmt, ...)
{
    va_list ap;

    if (s->failure[0])
        return;
    va_start(ap, fmt);
    (void)vsnprintf(s->failure, sizeof s->failure, fmt, ap);
    va_end(ap);
}

static void tick(struct sim *s)
{
    sim_pass(s, 100000);
    core_on_tick(s->core, s->now);
}

static void pause(struct sim *s)
{
    sim_pass(s, (int64_t)sim_random(s, 70) * 1000000);
}

static void turn(struct sim *s)
{
    (void)core_turn(s->core, s->now - s->set);
}

/* What happens next, in thousandths. */
static const struct {
    unsigned until;
    void (*event)(struct sim *s);
} EVENTS[] = {
    {350, sim_client_step}, {650, sim_lane_step}, {890, sim_disk_step}, {943, tick}, {950, sim_disk_fill}, {970, sim_lane_fault}, {973, sim_front_kill},
    {976, sim_clock_step},  {980, pause},         {992, turn},          {1000, sim_kill},
};

static void step(struct sim *s)
{
    uint64_t dice = sim_random(s, 1000);
    size_t n = 0;

    sim_pass(s, (int64_t)sim_random(s, 5000));
    s->steps++;
    while (dice >= EVENTS[n].until)
        n++;
    EVENTS[n].event(s);
}

void sim_free(struct sim *s)
{
    if (!s)
        return;
    core_free(s->core);
    buf_free(&s->durable);
    buf_free(&s->group);
    json_decref(s->blobs);
    json_decref(s->group_blobs);
    json_decref(s->acknowledged);
    json_decref(s->programs);
    json_decref(s->recovered);
    json_decref(s->objects);
    json_decref(s->snapshots);
    buf_free(&s->snapshot);
    json_decref(s->model.keys);
    json_decref(s->model.life);
    json_decref(s->compromised);
    for (unsigned n = 0; n < SIM_LANES; n++)
        json_decref(s->loaded[n]);
    for (unsigned n = 0; n < SIM_PENDING_MAX; n++)
        buf_free(&s->job[n].frame);
    free(s);
}

struct totals {
    unsigned long steps, kills, acknowledged, refused, batches, keys, faults, snapshots, clock_steps, destroyed;
};

static struct sim *begin(const struct sim_keys *keys, uint64_t seed, bool production)
{
    struct sim *s = calloc(1, sizeof *s);

    if (!s)
        abort();
    s->rng = seed * UINT64_C(0x2545f4914f6cdd1d) + 1;
    s->keys = keys;
    s->production = production;
    s->now = INT64_C(1700000000000000);
    s->durable = BUF_INIT(64u << 20);
    s->room = SIM_ROOM;
    s->group = BUF_INIT(64u << 20);
    s->blobs = json_object();
    s->group_blobs = json_object();
    s->acknowledged = json_object();
    s->programs = json_object();
    s->objects = json_array();
    s->compromised = json_object();
    s->snapshots = json_object();
    memcpy(s->source, "127.0.0.1", 10);
    sim_boot(s);
    return s;
}

struct sim *sim_new(const struct sim_keys *keys, uint64_t seed)
{
    return begin(keys, seed, false);
}

struct sim *sim_new_production(const struct sim_keys *keys, uint64_t seed)
{
    return begin(keys, seed, true);
}

/* 0 = every promise held. */
static int run_seed(const struct sim_keys *keys, uint64_t seed, unsigned steps, struct totals *t)
{
    struct sim *s = sim_new(keys, seed);
    int failed;

    for (unsigned n = 0; n < steps && !s->failure[0]; n++) {
        step(s);
        sim_check(s);
        sim_lanes_check(s);
    }
    if (!s->failure[0])
        sim_drain(s);
    if (!s->failure[0])
        sim_check_all(s);
    failed = s->failure[0] != '\0';
    if (failed)
        printf("seed %llu, step %u: %s\n", (unsigned long long)seed, s->steps, s->failure);
    t->steps += s->steps;
    t->kills += s->kills;
    t->refused += s->refused;
    t->batches += s->batches;
    t->keys += s->keys_made;
    t->faults += s->faults;
    t->snapshots += s->snapshot_starts;
    t->clock_steps += s->clock_steps;
    t->destroyed += s->destroyed;
    t->acknowledged += json_object_size(s->acknowledged);
    sim_free(s);
    return failed;
}

int main(int argc, char **argv)
{
    unsigned long first = argc > 1 ? strtoul(argv[1], NULL, 10) : 1, count = argc > 2 ? strtoul(argv[2], NULL, 10) : 200;
    unsigned steps = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 150;
    struct totals t = {0};
    struct sim_keys keys;
    int failed;

    json_object_seed(1);
    sim_keys_make(&keys);
    failed = sim_scenes(&keys);
    for (unsigned long n = 0; n < count && !failed; n++)
        failed = run_seed(&keys, first + n, steps, &t);
    sim_keys_free(&keys);
    printf("simulation: %lu schedules, %lu steps, %lu kills (%lu starts from a snapshot), %lu other faults (%lu recorded steps of the clock), %lu acknowledged (%lu of them keys), %lu keys destroyed, %lu batches, %lu refused: %s\n",
           count, t.steps, t.kills, t.snapshots, t.faults, t.clock_steps, t.acknowledged, t.keys, t.destroyed, t.batches, t.refused,
           failed ? "BROKEN" : "all promises held");
    return failed;
}
