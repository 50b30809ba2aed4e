/* Hands work to the token lanes, and moves work that a lane lost to another one, once. */
#include <stdlib.h>
#include <string.h>

#include "base/enc.h"
#include "kmsd/core/internal.h"

#define LANE_OUTSTANDING_MAX 256

/* How many ticks a lane may be silent while it works on one of these. Whatever it says starts the count again. */
static const struct {
    enum frame_type type;
    unsigned ticks;
} PATIENCE[] = {
    {FRAME_SIGN, 6}, {FRAME_PROBE, 6}, {FRAME_LOAD, 50}, {FRAME_ANCHOR, 50}, {FRAME_ISSUE, 100}, {FRAME_LIST, 300}, {FRAME_DESTROY, 300},
    {FRAME_GENERATE, 1200},
};
#define PATIENCE_OTHER 100
#define KEY_FRAME_LEN 128 /* of a frame with a key's id and scheme, without the input */

/* How a lane's failure reads to the caller. */
static const struct {
    enum lane_error class;
    enum err_code code;
    bool alarm, again; /* again: another lane may do better */
    const char *text;
} FAILURES[] = {
    {LANE_TOKEN, ERR_TOKEN_UNAVAILABLE, false, true, "the token does not answer"},
    {LANE_HUMAN, ERR_TOKEN_UNAVAILABLE, true, false, "the token refuses its PIN; an operator must act"},
    {LANE_BUG, ERR_INTERNAL, true, false, "the token refused the operation"},
    {LANE_INPUT, ERR_INTERNAL, true, false, "the token lane refused the form of its input"},
    {LANE_KEY, ERR_TOKEN_UNAVAILABLE, true, false, "the token does not have the key as it was recorded"},
    {LANE_VERIFY, ERR_INTERNAL, true, true, "the token made a signature that does not verify; it was not released"},
    {LANE_UNABLE, ERR_TOKEN_UNABLE, false, false, "the token makes no keys of this algorithm for this scheme"},
};
#define N_FAILURES (sizeof FAILURES / sizeof *FAILURES)

struct lane_op *lane_op_new(enum child_role role, enum frame_type type, int64_t deadline, unsigned attempts_max,
                            void (*done)(struct core *c, struct request *rq, const struct frame *result, struct err *e), struct request *rq)
{
    struct lane_op *op = calloc(1, sizeof *op);

    if (!op)
        return NULL;
    op->role = role;
    op->type = type;
    op->deadline = deadline;
    op->patience = PATIENCE_OTHER;
    for (size_t n = 0; n < sizeof PATIENCE / sizeof *PATIENCE; n++)
        if (PATIENCE[n].type == type)
            op->patience = PATIENCE[n].ticks;
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

/* The label that both halves of a key bear in the token. */
static void put_label(struct buf *frame, const struct key *k)
{
    BUF_AUTO label = BUF_INIT(256);

    buf_printf(&label, "kmsd:release:%s:%llu", k->name, (unsigned long long)k->version);
    frame_put_str(frame, TAG_LABEL, buf_str(&label));
}

struct lane_op *lane_op_key(struct lane_op *op, const struct key *k, struct span input)
{
    uint8_t id[KEY_ID_LEN];
    size_t mark;

    if (!op)
        return NULL;
    buf_expect(&op->frame, input.len + KEY_FRAME_LEN);
    mark = frame_begin(&op->frame, op->type, 0);
    op->frame.failed |= hex_decode(k->key_id, strlen(k->key_id), id, sizeof id) != 0;
    frame_put(&op->frame, TAG_KEY_ID, span_of(id, sizeof id));
    if (frame_requires(op->type, TAG_ALGORITHM))
        frame_put_str(&op->frame, TAG_ALGORITHM, k->algorithm);
    if (frame_requires(op->type, TAG_SCHEME))
        frame_put_str(&op->frame, TAG_SCHEME, k->scheme);
    if (frame_requires(op->type, TAG_LABEL))
        put_label(&op->frame, k);
    if (frame_requires(op->type, TAG_SPKI))
        frame_put(&op->frame, TAG_SPKI, buf_span(&k->spki));
    frame_put(&op->frame, TAG_INPUT, input);
    frame_end(&op->frame, mark);
    if (!buf_ok(&op->frame))
        return op;
    op_free(op);
    return NULL;
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

static struct lane_queue *queue_of(struct core *c, enum child_role role)
{
    return &c->queue[role == CHILD_LANE_ADMIN];
}

static void enqueue(struct lane_queue *q, struct lane_op *op)
{
    op->next = NULL;
    if (q->last)
        q->last->next = op;
    else
        q->first = op;
    q->last = op;
}

static struct lane_op *dequeue(struct lane_queue *q)
{
    struct lane_op *op = q->first;

    if (op && !(q->first = op->next))
        q->last = NULL;
    return op;
}

static struct lane *pick(struct core *c, enum child_role role)
{
    struct lane *best = NULL;

    for (unsigned n = 0; n < c->n_lanes; n++) {
        struct lane *l = &c->lane[n];

        if (l->role == role && l->state == LANE_READY && l->outstanding < LANE_OUTSTANDING_MAX && (!best || l->outstanding < best->outstanding))
            best = l;
    }
    return best;
}

unsigned lanes_outstanding(const struct core *c)
{
    unsigned sum = 0;

    for (unsigned n = 0; n < c->n_lanes; n++)
        sum += c->lane[n].role == CHILD_LANE_SIGN ? c->lane[n].outstanding : 0;
    return sum;
}

/* Nothing to wait for: no lane works, and those that run know that their token is away, or wait for a person. */
static const char *hopeless(const struct core *c, enum child_role role)
{
    bool away = false, sealed = false;

    for (unsigned n = 0; n < c->n_lanes; n++) {
        const struct lane *l = &c->lane[n];

        if (l->role == role && l->state == LANE_READY)
            return NULL;
        away |= l->role == role && l->state == LANE_AWAY;
        sealed |= l->role == role && l->state == LANE_SEALED;
    }
    return sealed ? "the token refused its PIN; an operator must act" : away ? "the token does not answer" : NULL;
}

bool lanes_hopeless(const struct core *c, enum child_role role)
{
    return hopeless(c, role) != NULL;
}

static void put_id(struct lane_op *op)
{
    for (unsigned n = 0; n < 8; n++)
        op->frame.data[5 + n] = (uint8_t)(op->id >> (56 - 8 * n));
}

void lane_give(struct core *c, struct lane *l, struct lane_op *op)
{
    if (buf_ok(&op->frame)) {
        fail(c, op, ERR_INTERNAL, "the work for the token did not fit its frame");
        return;
    }
    op->id = ++c->next_op;
    op->attempts++;
    op->next = NULL;
    op->given = c->clock.boot;
    if (op->type == FRAME_SIGN)
        prom_observe(&c->metrics.queue, op->given - op->submitted);
    put_id(op);
    if (l->last) {
        l->last->next = op;
    } else {
        l->first = op;
        l->silent = 0;
    }
    l->last = op;
    l->outstanding++;
    c->io.send(c->io.ctx, l->role, l->index, &op->frame);
}

static void pump(struct core *c, enum child_role role)
{
    struct lane_queue *q = queue_of(c, role);
    struct lane *l;

    while (q->first && (l = pick(c, role))) {
        struct lane_op *op = dequeue(q);
        struct err e = {0};

        if (op->wanted && op->wanted(c, op->rq, &e))
            finish(c, op, NULL, &e);
        else
            lane_give(c, l, op);
    }
}

void lanes_settle(struct core *c)
{
    static const enum child_role roles[LANE_QUEUES] = {CHILD_LANE_SIGN, CHILD_LANE_ADMIN};

    for (unsigned n = 0; n < LANE_QUEUES; n++) {
        const char *why = hopeless(c, roles[n]);
        struct lane_op *op;

        while (why && (op = dequeue(queue_of(c, roles[n]))))
            fail(c, op, ERR_TOKEN_UNAVAILABLE, why);
    }
}

void lane_submit(struct core *c, struct lane_op *op)
{
    op->submitted = c->clock.boot;
    enqueue(queue_of(c, op->role), op);
    pump(c, op->role);
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

static void answer_error(struct core *c, struct lane_op *op, uint64_t class)
{
    for (size_t n = 0; n < N_FAILURES; n++) {
        if (FAILURES[n].class != class)
            continue;
        if (FAILURES[n].alarm)
            c->io.note(c->io.ctx, CORE_NOTE_ALARM, "lane.error", FAILURES[n].text);
        if (FAILURES[n].again && op->attempts < op->attempts_max)
            enqueue(queue_of(c, op->role), op);
        else
            fail(c, op, FAILURES[n].code, FAILURES[n].text);
        return;
    }
    fail(c, op, ERR_INTERNAL, "the token lane failed in an unknown way");
}

int lane_answer(struct core *c, struct lane *l, const struct frame *f)
{
    struct lane_op *op;
    struct err none = {0};
    uint64_t class = f->type == FRAME_ERROR ? frame_u64(f, TAG_CLASS) : 0;

    if (l->killed)
        return 0;
    op = take(l, f->id);
    if (!op)
        return -1;
    l->silent = 0;
    if (class == LANE_TOKEN || class == LANE_HUMAN) {
        l->state = LANE_DOWN; /* it exits after this answer */
        l->leaving = true;
    }
    if (op->type == FRAME_PROBE || op->type == FRAME_LOAD) {
        (op->type == FRAME_PROBE ? lane_probed : lane_loaded)(c, l, !class);
        op_free(op);
    } else if (op->type == FRAME_UNLOAD) {
        lane_unloaded(c, l, !class);
        op_free(op);
    } else if (class) {
        answer_error(c, op, class);
    } else {
        if (op->type == FRAME_SIGN)
            prom_observe(&c->metrics.lane, c->clock.boot - op->given);
        finish(c, op, f, &none);
    }
    pump(c, l->role);
    return 0;
}

void lane_return(struct core *c, struct lane *l)
{
    struct lane_op *list = l->first, *next;

    l->first = l->last = NULL;
    l->outstanding = 0;
    for (struct lane_op *op = list; op; op = next) {
        next = op->next;
        if (op->attempts < op->attempts_max && c->clock.boot < op->deadline)
            enqueue(queue_of(c, op->role), op);
        else
            fail(c, op, ERR_TOKEN_UNAVAILABLE, "the token lane ended while it worked");
    }
    pump(c, l->role);
}

void lanes_expire(struct core *c)
{
    for (unsigned n = 0; n < LANE_QUEUES; n++) {
        struct lane_queue all = c->queue[n];
        struct lane_op *op;

        c->queue[n] = (struct lane_queue){0};
        while ((op = dequeue(&all))) {
            if (c->clock.boot < op->deadline)
                enqueue(&c->queue[n], op);
            else
                fail(c, op, ERR_TOKEN_UNAVAILABLE, "no token lane is ready");
        }
    }
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
    for (unsigned n = 0; n < LANE_QUEUES; n++)
        free_list(c->queue[n].first);
    for (unsigned n = 0; n < c->n_lanes; n++)
        free_list(c->lane[n].first);
}
