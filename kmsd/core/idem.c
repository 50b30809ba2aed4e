/* Idempotency keys: a repeated request gets the recorded answer, a different one under the same key is refused. */
#include <string.h>

#include "kmsd/core/internal.h"

int idem_check(struct core *c, struct request *rq, struct err *e)
{
    const struct stored *st;
    struct wait_list *where;

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
    where = kept_back(c, rq);
    if (!where)
        return 0;
    return wait_for(c, rq, where, e) ? -1 : 2;
}
