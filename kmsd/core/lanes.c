/* Hands work to the token lanes, keeps their deadlines, and moves work that a lane lost to another one, once. */
#include <stdlib.h>
#include <string.h>

#include "base/enc.h"
#include "kmsd/core/internal.h"

#define LOAD_TIME (10 * TIME_SECOND_US)
#define LANE_OUTSTANDING_MAX 256
#define LANE_QUEUE_MAX 8192

/* How a lane's failure reads to the caller. */
static const struct {
    enum lane_error class;
    enum err_code code;
    const char *text;
} FAILURES[] = {
    {LANE_TOKEN, ERR_TOKEN_UNAVAILABLE, "the token does not answer"},
    {LANE_HUMAN, ERR_TOKEN_UNAVAILABLE, "the token refuses its PIN; an operator must act"},
    {LANE_BUG, ERR_INTERNAL, "the token refused the operation"},
    {LANE_INPUT, ERR_INTERNAL, "the token lane refused the form of its input"},
    {LANE_KEY, ERR_TOKEN_UNAVAILABLE, "the token does not have the key as it was recorded"},
    {LANE_VERIFY, ERR_INTERNAL, "the token made a signature that does not verify; it was not released"},
};

struct lane_op *lane_op_new(enum child_role role, enum frame_type type, int64_t deadline, unsigned attempts_max,
                            void (*done)(struct core *c, struct request *rq, const struct frame *result, struct err *e), struct request *rq)
{
    struct lane_op *op = calloc(1, sizeof *op);

    if (!op)
        return NULL;
    op->role = role;
    op->type = type;
    op->deadline = deadline;
    op->attempts_max = attempts_max;
    op->done = done;
    op->rq = rq;
    op->frame = BUF_INIT(FRAME_MAX);
    return op;
}

static void op_free(struct lane_op *op)
{
    buf_free(&op->frame);
    free(op);
}

static void finish(struct core *c, struct lane_op *op, const struct frame *result, struct err *e)
{
    if (op->done)
        op->done(c, op->rq, result, e);
    op_free(op);
}

static void fail(struct core *c, struct lane_op *op, enum err_code code, const char *text)
{
    struct err e = {0};

    err_set(&e, code, "%s", text);
    finish(c, op, NULL, &e);
}

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

static struct lane *pick(struct core *c, enum child_role role)
{
    struct lane *best = NULL;

    for (unsigned n = 0; n < c->n_lanes; n++) {
        struct lane *l = &c->lane[n];

        if (l->role == role && l->state == LANE_READY && !l->killed && l->outstanding < LANE_OUTSTANDING_MAX && (!best || l->outstanding < best->outstanding))
            best = l;
    }
    return best;
}

static void put_id(struct lane_op *op)
{
    for (unsigned n = 0; n < 8; n++)
        op->frame.data[5 + n] = (uint8_t)(op->id >> (56 - 8 * n));
}

static void give(struct core *c, struct lane *l, struct lane_op *op)
{
    op->id = ++c->next_op;
    op->attempts++;
    op->next = NULL;
    put_id(op);
    if (l->last)
        l->last->next = op;
    else
        l->first = op;
    l->last = op;
    l->outstanding++;
    c->io.send(c->io.ctx, l->role, l->index, &op->frame);
}

static void enqueue(struct core *c, struct lane_op *op)
{
    op->next = NULL;
    if (c->queue_last)
        c->queue_last->next = op;
    else
        c->queue_first = op;
    c->queue_last = op;
}

static void pump(struct core *c)
{
    struct lane_op *list = c->queue_first, *next;

    c->queue_first = c->queue_last = NULL;
    for (struct lane_op *op = list; op; op = next) {
        struct lane *l = pick(c, op->role);

        next = op->next;
        if (l)
            give(c, l, op);
        else
            enqueue(c, op);
    }
}

void lane_submit(struct core *c, struct lane_op *op)
{
    struct lane *l = c->queue_first ? NULL : pick(c, op->role);

    if (buf_ok(&op->frame))
        fail(c, op, ERR_INTERNAL, "the work for the token did not fit its frame");
    else if (l)
        give(c, l, op);
    else {
        enqueue(c, op);
        pump(c);
    }
}

/* A lane that cannot load one key serves the others; a signature with that key then fails by name. */
static void on_loaded(struct core *c, struct request *rq, const struct frame *result, struct err *e)
{
    (void)rq;
    if (!result)
        c->io.note(c->io.ctx, CORE_NOTE_WARNING, "lane.load", e->detail);
}

static void load(struct core *c, struct lane *l, const struct key *k)
{
    struct lane_op *op = lane_op_new(l->role, FRAME_LOAD, c->now + LOAD_TIME, 1, on_loaded, NULL);
    uint8_t id[KEY_ID_LEN];
    size_t mark;

    if (!op || hex_decode(k->key_id, strlen(k->key_id), id, sizeof id)) {
        free(op);
        return;
    }
    mark = frame_begin(&op->frame, FRAME_LOAD, 0);
    frame_put(&op->frame, TAG_KEY_ID, span_of(id, sizeof id));
    frame_put_str(&op->frame, TAG_ALGORITHM, k->algorithm);
    frame_put_str(&op->frame, TAG_SCHEME, k->scheme);
    frame_put(&op->frame, TAG_SPKI, buf_span(&k->spki));
    frame_end(&op->frame, mark);
    if (buf_ok(&op->frame))
        op_free(op);
    else
        give(c, l, op);
}

struct loading {
    struct core *c;
    struct lane *l;
};

static bool load_one(void *ctx, struct key *k)
{
    struct loading *to = ctx;

    if (k->active && !strcmp(k->purpose, "release"))
        load(to->c, to->l, k);
    return true;
}

void lane_hello(struct core *c, struct lane *l)
{
    l->state = LANE_READY;
    if (l->role == CHILD_LANE_SIGN)
        state_each_key(c->state, "", load_one, &(struct loading){c, l});
    pump(c);
}

void lanes_load_key(struct core *c, const struct key *k)
{
    for (unsigned n = 0; n < c->n_lanes; n++)
        if (c->lane[n].role == CHILD_LANE_SIGN && c->lane[n].state == LANE_READY)
            load(c, &c->lane[n], k);
}

static struct lane_op *take(struct lane *l, uint64_t id)
{
    struct lane_op *before = NULL;

    for (struct lane_op *op = l->first; op; before = op, op = op->next) {
        if (op->id != id)
            continue;
        if (before)
            before->next = op->next;
        else
            l->first = op->next;
        if (l->last == op)
            l->last = before;
        l->outstanding--;
        return op;
    }
    return NULL;
}

/* Back to the queue for another lane, or over. */
static void lost(struct core *c, struct lane_op *op)
{
    if (op->attempts < op->attempts_max && c->now < op->deadline)
        enqueue(c, op);
    else
        fail(c, op, ERR_TOKEN_UNAVAILABLE, "the token lane ended while it worked");
}

static void answer_error(struct core *c, struct lane_op *op, uint64_t class)
{
    if (class == LANE_TOKEN && op->attempts < op->attempts_max) {
        enqueue(c, op);
        return;
    }
    for (size_t n = 0; n < sizeof FAILURES / sizeof *FAILURES; n++)
        if (FAILURES[n].class == class) {
            if (class == LANE_BUG || class == LANE_VERIFY || class == LANE_KEY || class == LANE_INPUT)
                c->io.note(c->io.ctx, CORE_NOTE_ALARM, "lane.error", FAILURES[n].text);
            fail(c, op, FAILURES[n].code, FAILURES[n].text);
            return;
        }
    fail(c, op, ERR_INTERNAL, "the token lane failed in an unknown way");
}

int lane_answer(struct core *c, struct lane *l, const struct frame *f)
{
    struct lane_op *op = take(l, f->id);
    struct err none = {0};

    if (!op)
        return -1;
    if (f->type == FRAME_ERROR) {
        uint64_t class = frame_u64(f, TAG_CLASS);

        if (class == LANE_TOKEN || class == LANE_HUMAN)
            l->state = LANE_DOWN; /* it exits after this answer */
        answer_error(c, op, class);
    } else {
        finish(c, op, f, &none);
    }
    pump(c);
    return 0;
}

void lane_lost(struct core *c, struct lane *l)
{
    struct lane_op *list = l->first, *next;

    l->state = LANE_DOWN;
    l->killed = false;
    l->first = l->last = NULL;
    l->outstanding = 0;
    for (struct lane_op *op = list; op; op = next) {
        next = op->next;
        lost(c, op);
    }
    pump(c);
}

static void expire_queue(struct core *c)
{
    struct lane_op *list = c->queue_first, *next;

    c->queue_first = c->queue_last = NULL;
    for (struct lane_op *op = list; op; op = next) {
        next = op->next;
        if (c->now < op->deadline)
            enqueue(c, op);
        else
            fail(c, op, ERR_TOKEN_UNAVAILABLE, "no token lane is ready");
    }
}

void lanes_tick(struct core *c)
{
    for (unsigned n = 0; n < c->n_lanes; n++) {
        struct lane *l = &c->lane[n];

        if (l->state != LANE_READY || l->killed || !l->first || c->now < l->first->deadline)
            continue;
        l->killed = true;
        c->io.kill(c->io.ctx, l->role, l->index, "deadline");
    }
    expire_queue(c);
}

static void free_list(struct lane_op *op)
{
    for (struct lane_op *next; op; op = next) {
        next = op->next;
        op_free(op);
    }
}

void lanes_free(struct core *c)
{
    free_list(c->queue_first);
    for (unsigned n = 0; n < c->n_lanes; n++)
        free_list(c->lane[n].first);
}
