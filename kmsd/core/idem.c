/* Idempotency keys: a repeated request gets the recorded answer, a different one under the same key is refused. */
#include <string.h>

#include "kmsd/core/internal.h"

static void resume(struct core *c, struct request *rq);

static bool same_in_flight(const struct core *c, const struct request *rq)
{
    for (const struct request *o = c->requests; o; o = o->next)
        if (o != rq && o->in_flight && !strcmp(o->idem_key, rq->idem_key))
            return true;
    return false;
}

int idem_check(struct core *c, struct request *rq, struct err *e)
{
    const struct stored *st;

    if (!rq->idem[0])
        return 0;
    idem_id(rq->identity, rq->method, rq->target, rq->idem, rq->idem_key);
    st = state_stored(c->state, rq->idem_key);
    if (st && strcmp(st->body_sha256, rq->body_sha256))
        return err_set(e, ERR_IDEMPOTENCY_CONFLICT, "Idempotency-Key %s was used for a request with another body", rq->idem);
    if (st) {
        reply_record(c, rq, span_str(st->line));
        return 1;
    }
    if (!same_in_flight(c, rq))
        return 0;
    return wait_for(c, rq, resume, e) ? -1 : 2;
}

/* The first one is over: decide this one from the start. */
static void resume(struct core *c, struct request *rq)
{
    struct err e = {0};

    if (!identify_again(c, rq, &e) || rq->route->handle(c, rq, &e))
        request_refuse(c, rq, &e);
}
