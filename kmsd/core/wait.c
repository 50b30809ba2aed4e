/* Requests that wait for another one's outcome: bounded in number and time, decided again when something ended. */
#include "kmsd/core/internal.h"

int wait_for(struct core *c, struct request *rq, void (*resume)(struct core *c, struct request *rq), struct err *e)
{
    if (!rq->waiting && c->n_waiting >= WAITERS_MAX)
        return err_set(e, ERR_BUSY, "too many requests wait for another one of the same channel");
    if (!rq->waiting) {
        rq->waiting = true;
        c->n_waiting++;
    }
    if (!rq->wait_until)
        rq->wait_until = c->now + WAIT_TIME;
    rq->resume = resume;
    return 0;
}

static struct request *oldest_waiter(struct core *c, int64_t from, const struct request *not_this)
{
    struct request *found = NULL;

    for (struct request *rq = c->requests; rq; rq = rq->next)
        if (rq->waiting && rq != not_this && rq->started >= from && (!found || rq->started <= found->started))
            found = rq;
    return found;
}

void wake_waiters(struct core *c)
{
    struct request *list[64];
    unsigned n = 0;

    if (!c->n_waiting)
        return;
    /* Take up to 64 of the oldest off the waiting list; those that must wait on put themselves back. */
    for (struct request *rq; n < 64 && (rq = oldest_waiter(c, INT64_MIN, NULL)); n++) {
        rq->waiting = false;
        c->n_waiting--;
        list[n] = rq;
    }
    for (unsigned i = 0; i < n; i++)
        list[i]->resume(c, list[i]);
}

void waiters_expire(struct core *c)
{
    for (struct request *rq = c->requests, *next; rq && c->n_waiting; rq = next) {
        struct err e = {0};

        next = rq->next;
        if (!rq->waiting || c->now < rq->wait_until)
            continue;
        err_set(&e, ERR_BUSY, "another request for the same channel or Idempotency-Key did not end in time");
        reply_problem(c, rq, &e);
    }
}
