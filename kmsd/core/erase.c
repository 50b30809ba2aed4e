/* Removal of keys from the token when it is due: an intent record, the token, a result record with the proof. What was begun is finished, however often this
 * process is started anew. */
#include <string.h>

#include "base/num.h"
#include "base/timefmt.h"
#include "kmsd/core/internal.h"

#define ERASE_TIME (60 * TIME_SECOND_US)
#define AGAIN_MIN (5 * TIME_SECOND_US)  /* after a failure, doubled for each further one */
#define AGAIN_MAX (600 * TIME_SECOND_US)
#define SETTLE_TIME (600 * TIME_SECOND_US)

/* A machine may start with a wrong clock: by then it has been put right, which is a step of the clock. */
static bool clock_settled(const struct core *c)
{
    return clock_steady(c) && (!strcmp(c->state->mode, "dev") || c->clock.boot - c->start.since_boot_us >= SETTLE_TIME);
}

/* What is begun goes on whatever the clock shows: it was due. */
static bool wants(const struct core *c, const struct key *k)
{
    int64_t due;

    if (k->state != KEY_DESTROYING)
        return false;
    return k->erase_seq || (clock_settled(c) && !time_parse(k->due, &due) && due <= c->clock.wall);
}

struct search {
    const struct core *c;
    const struct key *found;
};

static bool find_one(void *ctx, struct key *k)
{
    struct search *s = ctx;

    if (wants(s->c, k))
        s->found = k;
    return !s->found;
}

/* In order of name from the one that was tried last, so that one that fails keeps no other waiting. */
static const struct key *next_key(const struct core *c)
{
    struct search s = {.c = c};

    state_each_key(c->state, c->erase.key, find_one, &s);
    if (!s.found)
        state_each_key(c->state, "", find_one, &s);
    return s.found;
}

static json_t *record_of(const struct key *k, const char *outcome, json_t *detail)
{
    json_t *record = record_new("key.erase", outcome, &actor_system, "");

    json_object_set_new(record, "key", record_key(k->name, k->version));
    if (k->erase_seq)
        json_object_set_new(record, "intent_seq", json_integer((json_int_t)k->erase_seq));
    if (detail)
        json_object_set_new(record, "detail", detail);
    return record;
}

/* The first failure of a key since this start stands in the log, the others in the daemon's own. */
static void failed(struct core *c, const struct key *k, const struct err *why)
{
    int64_t pause = AGAIN_MIN << (c->erase.failures < 7 ? c->erase.failures : 7);
    struct err e = {0};
    json_t *record;

    c->erase.failures++;
    c->erase.again = c->clock.boot + (pause < AGAIN_MAX ? pause : AGAIN_MAX);
    c->io.note(c->io.ctx, CORE_NOTE_WARNING, "key.erase", why->detail);
    if (json_object_get(c->erase.told, k->name) || c->stop_written)
        return;
    if (!c->erase.told)
        c->erase.told = json_object();
    json_object_set_new(c->erase.told, k->name, json_true());
    record = record_of(k, "error", NULL);
    record_text(record, "reason", err_slug(why->code));
    if (commit(c, record, &e))
        commit_lost(c, "key.erase", &e);
}

/* The detail of the result: what the lane shows for it, and which object it was. */
static json_t *proof_of(const struct key *k, struct span text, struct err *e)
{
    json_t *proof = shown_proof(text, e);

    if (!proof)
        return NULL;
    json_object_set_new(proof, "key_id", json_string(k->key_id));
    return proof;
}

static void on_erased(struct core *c, struct request *rq, const struct frame *result, struct err *e)
{
    const struct key *k = state_key(c->state, c->erase.key);
    json_t *proof = result && frame_has(result, TAG_PROOF) ? proof_of(k, result->field[TAG_PROOF], e) : NULL;

    (void)rq;
    c->erase.busy = false;
    if (proof && !commit_kept(c, record_of(k, "ok", proof), e)) {
        c->erase.failures = 0;
        c->io.note(c->io.ctx, CORE_NOTE_WARNING, "key.erase", "a key was removed from the token");
        lanes_unload_key(c, k); /* those that started since it was suspended have seen its objects */
        return;
    }
    if (!e->code)
        err_set(e, ERR_INTERNAL, "the token lane answered without a proof");
    failed(c, k, e);
}

/* The intent is durable. */
static void erase(struct core *c, struct request *rq)
{
    const struct key *k = state_key(c->state, c->erase.key);
    struct lane_op *op = lane_op_key(lane_op_new(CHILD_LANE_ADMIN, FRAME_DESTROY, c->clock.boot + ERASE_TIME, 1, on_erased, NULL), k, span_of(NULL, 0));

    (void)rq;
    if (!op)
        abort(); /* the next start goes on */
    lane_submit(c, op);
}

static bool lane_works(const struct core *c)
{
    for (unsigned n = 0; n < c->n_lanes; n++)
        if (c->lane[n].role == CHILD_LANE_ADMIN && c->lane[n].state == LANE_READY)
            return true;
    return false;
}

void erase_tick(struct core *c)
{
    const struct key *k;
    struct err e = {0};

    if (c->erase.busy || c->stopping || !c->begun || c->durable <= c->start_seq || c->clock.boot < c->erase.again || !lane_works(c) || anchor_check(c, &e) ||
        room_check(c, &e) || !(k = next_key(c)))
        return;
    memcpy(c->erase.key, k->name, sizeof c->erase.key);
    c->erase.busy = true;
    if (k->erase_seq) { /* durable since an earlier try */
        erase(c, NULL);
    } else if (commit(c, record_of(k, "intent", json_pack("{s:s}", "key_id", k->key_id)), &e) || after_call(c, erase, NULL)) {
        commit_lost(c, "key.erase", &e);
        c->erase.busy = false;
        c->erase.again = c->clock.boot + AGAIN_MIN;
    }
}
