/* Requests that wait for another one's outcome: bounded in number and time, decided again when the one they wait for ended. */
#include <string.h>

#include "kmsd/core/internal.h"

/* What a request in flight keeps to itself, each looked up by its hash: its Idempotency-Key, its channel (for one version), its name there. */
enum { FLIGHT_IDEM, FLIGHT_CHANNEL, FLIGHT_NAME };
_Static_assert(FLIGHT_NAME + 1 == FLIGHT_LINKS, "a link for each");

static uint64_t mix(uint64_t hash, const char *text)
{
    do
        hash = (hash ^ (unsigned char)*text) * UINT64_C(0x100000001b3); /* FNV-1a, the NUL included */
    while (*text++);
    return hash;
}

static bool has(const struct request *rq, unsigned kind)
{
    return kind == FLIGHT_IDEM ? rq->idem_key[0] != '\0' : rq->sign.app && rq->sign.channel && rq->sign.name;
}

static unsigned bucket_of(const struct request *rq, unsigned kind)
{
    uint64_t hash = mix(UINT64_C(0xcbf29ce484222325) + kind, kind == FLIGHT_IDEM ? rq->idem_key : rq->sign.app);

    if (kind != FLIGHT_IDEM)
        hash = mix(hash, rq->sign.channel);
    if (kind == FLIGHT_NAME)
        hash = mix(hash, rq->sign.name);
    return (unsigned)((hash ^ hash >> 32) % FLIGHT_BUCKETS);
}

static bool same(const struct request *a, const struct request *b, unsigned kind)
{
    if (kind == FLIGHT_IDEM)
        return !strcmp(a->idem_key, b->idem_key);
    return !strcmp(a->sign.app, b->sign.app) && !strcmp(a->sign.channel, b->sign.channel) && (kind == FLIGHT_CHANNEL || !strcmp(a->sign.name, b->sign.name));
}

static struct request *find(const struct core *c, const struct request *rq, unsigned kind)
{
    struct request *o = has(rq, kind) ? c->flight[kind][bucket_of(rq, kind)] : NULL;

    while (o && (o == rq || !same(o, rq, kind)))
        o = o->flight[kind].next;
    return o;
}

void flight_begin(struct core *c, struct request *rq)
{
    rq->in_flight = true;
    for (unsigned kind = 0; kind < FLIGHT_LINKS; kind++) {
        struct flight_link *l = &rq->flight[kind];

        if (!has(rq, kind))
            continue;
        l->from = &c->flight[kind][bucket_of(rq, kind)];
        l->next = *l->from;
        if (l->next)
            l->next->flight[kind].from = &l->next;
        *l->from = rq;
    }
}

/* Behind those that came before it. */
static void wait_enter(struct core *c, struct wait_list *list, struct request *rq)
{
    struct request *before = list->last;

    if (!rq->turn)
        rq->turn = ++c->turns;
    while (before && before->turn > rq->turn)
        before = before->wait_prev;
    rq->waits_in = list;
    rq->wait_prev = before;
    rq->wait_next = before ? before->wait_next : list->first;
    *(rq->wait_next ? &rq->wait_next->wait_prev : &list->last) = rq;
    *(before ? &before->wait_next : &list->first) = rq;
    c->n_waiting++;
}

void wait_leave(struct core *c, struct request *rq)
{
    struct wait_list *list = rq->waits_in;

    if (!list)
        return;
    *(rq->wait_prev ? &rq->wait_prev->wait_next : &list->first) = rq->wait_next;
    *(rq->wait_next ? &rq->wait_next->wait_prev : &list->last) = rq->wait_prev;
    rq->waits_in = NULL;
    c->n_waiting--;
}

static void move(struct core *c, struct request *rq, struct wait_list *list)
{
    wait_leave(c, rq);
    wait_enter(c, list, rq);
}

/* The first in the queue of rq's channel. Other channels of the same hash may stand there too. */
static struct request *head_of(const struct core *c, const struct request *rq)
{
    struct request *o = has(rq, FLIGHT_CHANNEL) ? c->queue_of_channel[bucket_of(rq, FLIGHT_CHANNEL)].first : NULL;

    while (o && !same(o, rq, FLIGHT_CHANNEL))
        o = o->wait_next;
    return o;
}

/* The one in flight that does not let rq's version, or its name in it, into the channel. */
static struct request *occupant(const struct core *c, const struct request *rq)
{
    struct request *o = find(c, rq, FLIGHT_CHANNEL);

    return o && !strcmp(o->sign.version, rq->sign.version) ? find(c, rq, FLIGHT_NAME) : o;
}

/* The head of the channel's queue is due when nothing in flight keeps it back. */
static void admit(struct core *c, const struct request *rq)
{
    struct request *head, *o;

    while ((head = head_of(c, rq))) {
        o = find(c, head, FLIGHT_IDEM);
        if (!o && occupant(c, head))
            return;
        move(c, head, o ? &o->waiters : &c->due);
        if (!o)
            return;
    }
}

/* Those that waited for rq are due: wake_waiters runs them. */
void flight_end(struct core *c, struct request *rq)
{
    if (!rq->in_flight)
        return;
    rq->in_flight = false;
    for (unsigned kind = 0; kind < FLIGHT_LINKS; kind++) {
        struct flight_link *l = &rq->flight[kind];

        if (l->from && (*l->from = l->next))
            l->next->flight[kind].from = l->from;
        *l = (struct flight_link){0};
    }
    while (rq->waiters.first)
        move(c, rq->waiters.first, &c->due);
    admit(c, rq);
}

/* One version in flight per channel, any number of names; one request per Idempotency-Key. Nobody overtakes those who wait for another version's turn. */
struct wait_list *kept_back(struct core *c, const struct request *rq)
{
    struct request *o = find(c, rq, FLIGHT_IDEM), *head = head_of(c, rq);

    if (o)
        return &o->waiters;
    o = occupant(c, rq);
    if ((head && (!rq->turn || head->turn < rq->turn)) || (o && strcmp(o->sign.version, rq->sign.version)))
        return &c->queue_of_channel[bucket_of(rq, FLIGHT_CHANNEL)];
    return o ? &o->waiters : NULL;
}

int wait_for(struct core *c, struct request *rq, struct wait_list *list, struct err *e)
{
    if (c->n_waiting >= WAITERS_MAX)
        return err_set(e, ERR_BUSY, "too many requests wait for another one of the same channel");
    wait_enter(c, list, rq);
    if (!rq->wait_until)
        rq->wait_until = c->clock.boot + WAIT_TIME;
    return 0;
}

void wait_turn(struct core *c, struct request *rq)
{
    wait_enter(c, &c->due, rq);
    rq->wait_until = c->clock.boot + WAIT_TIME;
}

static void resume(struct core *c, struct request *rq)
{
    struct wait_list *list = kept_back(c, rq);
    struct err e = {0};

    if (list ? wait_for(c, rq, list, &e) : !identify_again(c, rq, &e) || rq->route->handle(c, rq, &e))
        request_refuse(c, rq, &e);
}

/* The oldest first, each decided from the start unless one that was woken before it keeps it back. What one of them brings about may make others due;
 * whoever stands behind it in its channel's queue may come along with it, or come next. */
void wake_waiters(struct core *c)
{
    struct request *rq, *behind;

    if (c->waking)
        return;
    c->waking = true;
    while ((rq = c->due.first)) {
        wait_leave(c, rq);
        behind = head_of(c, rq);
        resume(c, rq);
        if (behind)
            admit(c, behind);
    }
    c->waking = false;
}

/* All are taken off their lists first: an answer may bring others in. */
void waiters_expire(struct core *c)
{
    struct wait_list late = {0};
    struct request *rq;

    for (rq = c->n_waiting ? c->requests : NULL; rq; rq = rq->next)
        if (rq->waits_in && c->clock.boot >= rq->wait_until)
            move(c, rq, &late);
    while ((rq = late.first)) {
        struct err e = {0};

        wait_leave(c, rq);
        admit(c, rq);
        err_set(&e, ERR_BUSY, "another request for the same channel or Idempotency-Key did not end in time");
        reply_problem(c, rq, &e);
    }
    wake_waiters(c);
}
