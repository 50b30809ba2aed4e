/* What becomes of a lane: started, waiting for its token, proving that it can sign, working, silent, ended. */
#include <string.h>

#include "audit/state/keylife.h"
#include "kmsd/core/internal.h"

#define TOKEN_MAX 16384
#define LOAD_TIME (10 * TIME_SECOND_US)
#define START_TICKS 200  /* from its start to HELLO or AWAY; lanes start one after another */
#define RSA_TICKS 15     /* as long as a TPM may take for an RSA signature, twice, is no sign of a lane that hangs */
#define PROBE_TICKS 10   /* a lane with nothing to do shows so often that it still could */
#define LEAVE_TICKS 20   /* from the failure that a lane ends with to its end: a module that takes leave of a dead token may hang */
#define AWAY_TICKS 100   /* one that waits for its token speaks up at least this often */

struct lane *lane_of(struct core *c, enum child_role role, unsigned index)
{
    struct lane *l;

    for (unsigned n = 0; n < c->n_lanes; n++)
        if (c->lane[n].role == role && c->lane[n].index == index)
            return &c->lane[n];
    if (c->n_lanes == CORE_LANES_MAX)
        return NULL;
    l = &c->lane[c->n_lanes++];
    *l = (struct lane){.role = role, .index = index};
    return l;
}

/* What it was given goes elsewhere at once: a process that cannot be killed keeps nobody waiting. */
static void lane_end(struct core *c, struct lane *l, const char *reason)
{
    if (l->killed)
        return;
    l->killed = true;
    l->state = LANE_DOWN;
    c->io.kill(c->io.ctx, l->role, l->index, reason);
    lane_return(c, l);
}

/* A lane that cannot load one key serves the others; a signature with that key then fails by name. */
void lane_loaded(struct core *c, struct lane *l, bool well)
{
    l->loaded += well;
    l->not_loaded += !well;
    if (well)
        return;
    c->io.note(c->io.ctx, CORE_NOTE_WARNING, "lane.load", "a lane did not take a key: the token does not have it as it was recorded");
    /* A key that was made since this lane started: some modules see the objects of another process only when they start. */
    if (l->state == LANE_READY)
        lane_end(c, l, "key not seen");
}

static void load(struct core *c, struct lane *l, const struct key *k)
{
    struct lane_op *op = lane_op_key(lane_op_new(l->role, FRAME_LOAD, c->clock.boot + LOAD_TIME, 1, NULL, NULL), k, span_of(NULL, 0));

    if (!op)
        return;
    c->rsa = c->rsa || !strncmp(k->algorithm, "rsa-", 4);
    lane_give(c, l, op);
}

/* A lane that keeps a key which must not sign any more is no lane to go on with. */
void lane_unloaded(struct core *c, struct lane *l, bool well)
{
    if (!well && l->state != LANE_DOWN)
        lane_end(c, l, "key not dropped");
}

static void unload(struct core *c, struct lane *l, const struct key *k)
{
    struct lane_op *op = lane_op_key(lane_op_new(l->role, FRAME_UNLOAD, c->clock.boot + LOAD_TIME, 1, NULL, NULL), k, span_of(NULL, 0));

    if (op)
        lane_give(c, l, op);
    else
        lane_end(c, l, "key not dropped");
}

struct loading {
    struct core *c;
    struct lane *l;
};

static bool load_one(void *ctx, struct key *k)
{
    struct loading *to = ctx;

    if (key_signs(k) && !strcmp(k->purpose, "release"))
        load(to->c, to->l, k);
    return true;
}

static void probe(struct core *c, struct lane *l)
{
    struct lane_op *op = lane_op_new(l->role, FRAME_PROBE, 0, 1, NULL, NULL);

    if (!op)
        return;
    frame_end(&op->frame, frame_begin(&op->frame, FRAME_PROBE, 0));
    lane_give(c, l, op);
}

/* What it tells of itself is for people to read, nothing rests on it. */
static void introduce(struct core *c, struct lane *l, const struct frame *f)
{
    struct err e = {0};
    json_t *token = frame_has(f, TAG_TOKEN) ? json_read_object(f->field[TAG_TOKEN].data, f->field[TAG_TOKEN].len, TOKEN_MAX, &e) : NULL;

    if (frame_text(f, TAG_SANDBOX, l->sandbox, sizeof l->sandbox))
        l->sandbox[0] = '\0';
    if (!token)
        return;
    json_decref(c->token);
    c->token = token;
}

int lane_hello(struct core *c, struct lane *l, const struct frame *f)
{
    if (l->killed)
        return 0;
    if (l->state != LANE_STARTING && l->state != LANE_AWAY)
        return -1;
    introduce(c, l, f);
    l->state = LANE_PROVING;
    l->silent = l->loaded = l->not_loaded = 0;
    if (l->role == CHILD_LANE_SIGN)
        state_each_key(c->state, "", load_one, &(struct loading){c, l});
    probe(c, l);
    if (l->role == CHILD_LANE_ADMIN)
        reconcile_start(c);
    return 0;
}

int lane_away(struct core *c, struct lane *l, const struct frame *f)
{
    if (l->killed)
        return 0;
    if ((l->state != LANE_STARTING && l->state != LANE_AWAY) || frame_text(f, TAG_REASON, c->away_reason, sizeof c->away_reason))
        return -1;
    if (l->state == LANE_STARTING)
        c->io.note(c->io.ctx, CORE_NOTE_WARNING, "lane.away", c->away_reason);
    l->state = LANE_AWAY;
    l->silent = 0;
    return 0;
}

void lane_up(struct core *c, struct lane *l)
{
    l->state = LANE_STARTING;
    l->killed = l->leaving = false;
    l->silent = 0;
    lane_return(c, l);
}

void lane_down(struct core *c, struct lane *l, const char *reason)
{
    l->state = strcmp(reason, REASON_SEALED) ? LANE_DOWN : LANE_SEALED;
    l->killed = l->leaving = false;
    lane_return(c, l);
}

/* A token that has none of the keys is not the token, or went away while the lane started; unless the administrative lane looked, and they are gone. */
void lane_probed(struct core *c, struct lane *l, bool well)
{
    if (!well || (l->state == LANE_PROVING && l->not_loaded && !l->loaded && !reconcile_all_lost(c))) {
        if (l->state != LANE_DOWN)
            lane_end(c, l, "probe");
        return;
    }
    if (l->state != LANE_PROVING)
        return;
    l->state = LANE_READY;
    c->io.proved(c->io.ctx, l->role, l->index);
}

/* All lanes share the token: one that signs with a curve waits while the token computes for another. */
static unsigned patience(const struct core *c, const struct lane *l)
{
    if (l->leaving)
        return LEAVE_TICKS;
    if (l->first && c->rsa && l->first->patience < RSA_TICKS)
        return RSA_TICKS;
    if (l->first)
        return l->first->patience;
    return l->state == LANE_STARTING ? START_TICKS : l->state == LANE_AWAY ? AWAY_TICKS : 0;
}

void lanes_tick(struct core *c)
{
    for (unsigned n = 0; n < c->n_lanes; n++) {
        struct lane *l = &c->lane[n];

        if (l->killed || (!l->leaving && (l->state == LANE_DOWN || l->state == LANE_SEALED)))
            continue;
        l->silent++;
        if (l->state == LANE_READY && !l->first && l->silent >= PROBE_TICKS)
            probe(c, l);
        else if (patience(c, l) && l->silent > patience(c, l))
            lane_end(c, l, "deadline");
    }
    lanes_expire(c);
}

void lanes_load_key(struct core *c, const struct key *k)
{
    for (unsigned n = 0; n < c->n_lanes; n++)
        if (c->lane[n].role == CHILD_LANE_SIGN && c->lane[n].state >= LANE_PROVING)
            load(c, &c->lane[n], k);
}

void lanes_unload_key(struct core *c, const struct key *k)
{
    for (unsigned n = 0; n < c->n_lanes; n++)
        if (c->lane[n].role == CHILD_LANE_SIGN && c->lane[n].state >= LANE_PROVING)
            unload(c, &c->lane[n], k);
}

unsigned lanes_ready(const struct core *c)
{
    unsigned ready = 0;

    for (unsigned n = 0; n < c->n_lanes; n++)
        ready += c->lane[n].state == LANE_READY;
    return ready;
}

bool lanes_any(const struct core *c, enum lane_state state)
{
    for (unsigned n = 0; n < c->n_lanes; n++)
        if (c->lane[n].state == state)
            return true;
    return false;
}
