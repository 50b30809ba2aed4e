/* Requests that wait for another one's outcome: bounded in number and time, decided again when the one they wait for ended. */
#include <string.h>

#include "kmsd/core/internal.h"

void flight_begin(struct core *c, struct request *rq)
{
    rq->in_flight = true;
    rq->flight_prev = NULL;
    rq->flight_next = c->flights;
    if (c->flights)
        c->flights->flight_prev = rq;
    c->flights = rq;
}

/* Those that wait for rq keep waiting, for nothing: wake_waiters finds them. */
void flight_end(struct core *c, struct request *rq)
{
    if (!rq->in_flight)
        return;
    rq->in_flight = false;
    if (rq->flight_next)
        rq->flight_next->flight_prev = rq->flight_prev;
    if (rq->flight_prev)
        rq->flight_prev->flight_next = rq->flight_next;
    else
        c->flights = rq->flight_next;
    for (struct request *o = c->n_waiting ? c->requests : NULL; o; o = o->next)
        if (o->blocker == rq)
            o->blocker = NULL;
}

/* One version in flight per channel, any number of names; one request per Idempotency-Key. */
static bool blocks(const struct request *o, const struct request *rq)
{
    const struct sign_request *a = &o->sign, *b = &rq->sign;

    if (rq->idem_key[0] && !strcmp(o->idem_key, rq->idem_key))
        return true;
    return a->name && b->name && !strcmp(a->app, b->app) && !strcmp(a->channel, b->channel) && (strcmp(a->version, b->version) || !strcmp(a->name, b->name));
}

struct request *blocker_of(const struct core *c, const struct request *rq)
{
    for (struct request *o = c->flights; o; o = o->flight_next)
        if (o != rq && blocks(o, rq))
            return o;
    return NULL;
}

int wait_for(struct core *c, struct request *rq, struct request *blocker, struct err *e)
{
    if (c->n_waiting >= WAITERS_MAX)
        return err_set(e, ERR_BUSY, "too many requests wait for another one of the same channel");
    c->n_waiting++;
    rq->waiting = true;
    rq->blocker = blocker;
    if (!rq->wait_until)
        rq->wait_until = c->clock.boot + WAIT_TIME;
    return 0;
}

/* Decides it from the start, unless one that was woken before it keeps it back. */
static void resume(struct core *c, struct request *rq)
{
    struct request *blocker = blocker_of(c, rq);
    struct err e = {0};

    if (blocker ? wait_for(c, rq, blocker, &e) : !identify_again(c, rq, &e) || rq->route->handle(c, rq, &e))
        request_refuse(c, rq, &e);
}

void wake_waiters(struct core *c)
{
    struct request *due[WAITERS_MAX];
    unsigned n = 0;

    /* All are taken off the waiting list first: what one of them brings about may wake others. */
    for (struct request *rq = c->n_waiting ? c->requests : NULL; rq; rq = rq->next)
        if (rq->waiting && !rq->blocker) {
            rq->waiting = false;
            c->n_waiting--;
            due[n++] = rq;
        }
    while (n-- > 0) /* the newest request is the first of the list */
        resume(c, due[n]);
}

void waiters_expire(struct core *c)
{
    for (struct request *rq = c->requests, *next; rq && c->n_waiting; rq = next) {
        struct err e = {0};

        next = rq->next;
        if (!rq->waiting || c->clock.boot < rq->wait_until)
            continue;
        err_set(&e, ERR_BUSY, "another request for the same channel or Idempotency-Key did not end in time");
        reply_problem(c, rq, &e);
    }
}
