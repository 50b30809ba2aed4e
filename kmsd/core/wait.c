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

static void wait_enter(struct wait_list *list, struct request *rq)
{
    rq->waits_in = list;
    rq->wait_next = NULL;
    rq->wait_prev = list->last;
    *(list->last ? &list->last->wait_next : &list->first) = rq;
    list->last = rq;
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

/* Those that waited for rq are due: wake_waiters runs them. */
void flight_end(struct core *c, struct request *rq)
{
    struct request *o;

    if (!rq->in_flight)
        return;
    rq->in_flight = false;
    for (unsigned kind = 0; kind < FLIGHT_LINKS; kind++) {
        struct flight_link *l = &rq->flight[kind];

        if (l->from && (*l->from = l->next))
            l->next->flight[kind].from = l->from;
        *l = (struct flight_link){0};
    }
    while ((o = rq->waiters.first)) {
        wait_leave(c, o);
        wait_enter(&c->due, o);
        c->n_waiting++;
    }
}

/* One version in flight per channel, any number of names; one request per Idempotency-Key. */
struct request *blocker_of(const struct core *c, const struct request *rq)
{
    struct request *o = find(c, rq, FLIGHT_IDEM);

    if (o)
        return o;
    o = find(c, rq, FLIGHT_CHANNEL);
    return o && !strcmp(o->sign.version, rq->sign.version) ? find(c, rq, FLIGHT_NAME) : o;
}

int wait_for(struct core *c, struct request *rq, struct request *blocker, struct err *e)
{
    if (c->n_waiting >= WAITERS_MAX)
        return err_set(e, ERR_BUSY, "too many requests wait for another one of the same channel");
    c->n_waiting++;
    wait_enter(&blocker->waiters, rq);
    if (!rq->wait_until)
        rq->wait_until = c->clock.boot + WAIT_TIME;
    return 0;
}

void wait_turn(struct core *c, struct request *rq)
{
    c->n_waiting++;
    wait_enter(&c->due, rq);
    rq->wait_until = c->clock.boot + WAIT_TIME;
}

static void resume(struct core *c, struct request *rq)
{
    struct request *blocker = blocker_of(c, rq);
    struct err e = {0};

    if (blocker ? wait_for(c, rq, blocker, &e) : !identify_again(c, rq, &e) || rq->route->handle(c, rq, &e))
        request_refuse(c, rq, &e);
}

/* The oldest first, each decided from the start unless one that was woken before it keeps it back. What one of them brings about may make others due. */
void wake_waiters(struct core *c)
{
    struct request *rq;

    if (c->waking)
        return;
    c->waking = true;
    while ((rq = c->due.first)) {
        wait_leave(c, rq);
        resume(c, rq);
    }
    c->waking = false;
}

/* All are taken off their lists first: an answer may bring others in. */
void waiters_expire(struct core *c)
{
    struct wait_list late = {0};
    struct request *rq;

    for (rq = c->n_waiting ? c->requests : NULL; rq; rq = rq->next)
        if (rq->waits_in && c->clock.boot >= rq->wait_until) {
            wait_leave(c, rq);
            wait_enter(&late, rq);
            c->n_waiting++;
        }
    while ((rq = late.first)) {
        struct err e = {0};

        wait_leave(c, rq);
        err_set(&e, ERR_BUSY, "another request for the same channel or Idempotency-Key did not end in time");
        reply_problem(c, rq, &e);
    }
}
