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
        sim_check(s);
    }
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

static const struct {
    const char *name;
    void (*run)(struct sim *s);
} SCENES[] = {{"many wait for one signature", many_wait}};

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
