/* The anchor's copy on the token: compared with the log before anything is signed, then kept behind it. */
#include <string.h>

#include "kmsd/core/internal.h"

#define PAUSE (60 * TIME_SECOND_US)     /* between two writings while records come */
#define ANSWER_TIME (10 * TIME_SECOND_US)
#define STOP_TIME (2 * TIME_SECOND_US)  /* what the last writing may take */

static bool lane_works(const struct core *c)
{
    for (unsigned n = 0; n < c->n_lanes; n++)
        if (c->lane[n].role == CHILD_LANE_ADMIN && c->lane[n].state == LANE_READY)
            return true;
    return false;
}

static int ask(struct core *c, struct span value, void (*done)(struct core *c, struct request *rq, const struct frame *result, struct err *e))
{
    struct lane_op *op = lane_op_new(CHILD_LANE_ADMIN, FRAME_ANCHOR, c->clock.boot + ANSWER_TIME, 2, done, NULL);
    BUF_AUTO label = BUF_INIT(64);
    size_t mark;

    if (!op)
        return -1;
    buf_printf(&label, "kmsd:anchor:%s", c->state->instance);
    mark = frame_begin(&op->frame, FRAME_ANCHOR, 0);
    frame_put_str(&op->frame, TAG_LABEL, buf_str(&label));
    frame_put(&op->frame, TAG_ANCHOR, value);
    frame_end(&op->frame, mark);
    c->anchor.asked = true;
    lane_submit(c, op);
    return 0;
}

/* The newest of the slots that the answer carries. Those that are none were not written by us, or not whole. */
static int newest(struct span slots, struct anchor *out)
{
    struct anchor a;
    int found = -1;

    for (size_t at = 0; at + ANCHOR_LEN <= slots.len; at += ANCHOR_LEN)
        if (!anchor_decode(span_of(slots.data + at, ANCHOR_LEN), &a) && (found || a.counter > out->counter)) {
            *out = a;
            found = 0;
        }
    return found;
}

/* An operator accepted the log as it is: either of an anchor that was at least as far, after this copy was made, or of this very copy. */
static bool overruled(const struct reset *r, const struct anchor *a)
{
    if (!r->seq)
        return false;
    if (r->token && r->token_seq == a->seq && !strcmp(r->token_hash, a->hash))
        return true;
    return r->old && a->counter < r->counter && a->seq <= r->old_seq;
}

static void refuse(struct core *c, const struct anchor *a, enum anchor_verdict v)
{
    struct err e = {0};
    BUF_AUTO text = BUF_INIT(sizeof c->anchor.refusal - 1);

    (void)anchor_refuse(a, v, "the anchor on the token", c->anchor.log_end, &e);
    buf_printf(&text, "%s (with --token %llu:%s)", e.detail, (unsigned long long)a->seq, a->hash);
    memcpy(c->anchor.refusal, buf_str(&text), text.len + 1);
    c->io.note(c->io.ctx, CORE_NOTE_ALARM, "anchor", c->anchor.refusal);
    core_on_stop(c, "the anchor on the token is not in the log", c->clock.wall);
}

static void compared(struct core *c)
{
    c->anchor.compared = true;
    c->anchor.due = c->clock.boot;
}

static void useless(struct core *c)
{
    c->anchor.useless = true;
    c->io.note(c->io.ctx, CORE_NOTE_WARNING, "anchor", "the token keeps no data objects: the anchor is in its file only");
}

static void on_read(struct core *c, struct request *rq, const struct frame *result, struct err *e)
{
    char hash[SHA256_HEX] = "";
    enum anchor_verdict v;
    struct anchor a;

    (void)rq;
    c->anchor.asked = false;
    if (!result && e->code == ERR_TOKEN_UNAVAILABLE)
        return; /* asked again when a lane works */
    if (!result)
        useless(c);
    if (!result || newest(result->field[TAG_ANCHOR], &a)) {
        if (result && frame_has(result, TAG_ANCHOR))
            c->io.note(c->io.ctx, CORE_NOTE_WARNING, "anchor", "the anchor on the token is damaged; it is replaced");
        compared(c);
        return;
    }
    c->anchor.counter = a.counter;
    if (a.seq < c->anchor.log_end && c->io.record_hash(c->io.ctx, a.seq, hash))
        return; /* the disk failed; asked again */
    v = anchor_judge(&a, c->state->instance, c->anchor.log_end, hash);
    if (v != ANCHOR_HOLDS && !overruled(&c->state->reset, &a)) {
        refuse(c, &a, v);
        return;
    }
    if (v != ANCHOR_HOLDS)
        c->io.note(c->io.ctx, CORE_NOTE_WARNING, "anchor", "the anchor on the token is not in the log, which was accepted so; it is replaced");
    compared(c);
}

static void on_written(struct core *c, struct request *rq, const struct frame *result, struct err *e)
{
    struct anchor a;

    (void)rq;
    (void)e;
    c->anchor.asked = false;
    if (!result)
        c->anchor.written = 0; /* tried again when it is due */
    else if (newest(result->field[TAG_ANCHOR], &a) || a.counter < c->anchor.counter)
        useless(c);
}

static void replace(struct core *c)
{
    struct anchor a = {.counter = anchor_next_counter(c->anchor.counter, c->now), .seq = c->durable - 1};
    BUF_AUTO slot = BUF_INIT(ANCHOR_LEN);

    memcpy(a.instance, c->state->instance, sizeof a.instance);
    memcpy(a.hash, c->durable_hash, sizeof a.hash);
    anchor_encode(&slot, &a);
    c->anchor.due = c->clock.boot + PAUSE;
    if (buf_ok(&slot))
        return;
    c->anchor.counter = a.counter;
    c->anchor.written = c->durable;
    if (ask(c, buf_span(&slot), on_written))
        c->anchor.written = 0;
}

void anchor_step(struct core *c)
{
    struct anchor_copy *a = &c->anchor;

    if (a->asked || a->useless || a->refusal[0] || !lane_works(c))
        return;
    if (!a->compared && !c->stopping)
        (void)!ask(c, (struct span){0}, on_read);
    else if (a->compared && a->written != c->durable && c->durable > c->start_seq && (c->clock.boot >= a->due || a->stop_by))
        replace(c);
}

int anchor_check(const struct core *c, struct err *e)
{
    return c->anchor.compared ? 0 : err_set(e, ERR_TOKEN_UNAVAILABLE, "the token has not yet been asked whether the log is whole; nothing is signed before");
}

void anchor_stop(struct core *c)
{
    if (!c->anchor.stop_by)
        c->anchor.stop_by = c->clock.boot + STOP_TIME;
    anchor_step(c);
}

bool anchor_settled(const struct core *c)
{
    return !c->anchor.asked || c->clock.boot >= c->anchor.stop_by;
}

const char *core_refuses(const struct core *c)
{
    return c->anchor.refusal[0] ? c->anchor.refusal : NULL;
}

void core_on_anchor(struct core *c, const char *problem)
{
    size_t n = strnlen(problem, sizeof c->anchor.problem - 1);

    memcpy(c->anchor.problem, problem, n);
    c->anchor.problem[n] = '\0';
}
