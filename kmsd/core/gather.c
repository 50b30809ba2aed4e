/* How long a group of records waits for others before the disk gets it. */
#include "kmsd/core/internal.h"

#define WAIT_MAX_US 2000
#define PERIOD_US 100000
#define PART 4 /* of those that were in hand lately: one group in so many */

/* The period before the one that ends is forgotten. */
static void periods(struct core_gather *g, int64_t boot_us)
{
    if (boot_us - g->began < PERIOD_US)
        return;
    g->before = boot_us - g->began < 2 * PERIOD_US ? g->most : 0;
    g->most = 0;
    g->began = boot_us;
}

void gather_done(struct core *c, int64_t took_us)
{
    struct core_gather *g = &c->gather;
    unsigned in_hand = c->n_held + lanes_outstanding(c);

    g->sync_us = took_us;
    periods(g, c->clock.boot);
    if (in_hand > g->most)
        g->most = in_hand;
}

/* Signatures that lanes have in hand will be there soon. Where many were in hand lately, those answered last ask again: groups of a few records each would
 * have all processes woken for every one of them, and where the processors are short nobody gets on then, the clients on the same machine least of all. */
static bool worthwhile(const struct core *c, unsigned lately)
{
    uint64_t records = c->state->chain.next_seq - c->pending_first;

    return records < lanes_outstanding(c) || PART * records < lately;
}

int64_t gather_left(struct core *c, int64_t boot_us)
{
    struct core_gather *g = &c->gather;
    int64_t most = 2 * g->sync_us < WAIT_MAX_US ? 2 * g->sync_us : WAIT_MAX_US;

    periods(g, boot_us);
    if (!g->since)
        g->since = boot_us;
    if (g->since + most > boot_us && worthwhile(c, g->most > g->before ? g->most : g->before))
        return g->since + most - boot_us;
    g->since = 0;
    return 0;
}
