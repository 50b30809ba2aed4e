/* Operations that outlast their request: what takes longer than a second is answered 202, and told of under the id of that request until long after it
 * ended. They are of this process only: what they bring about stands in the log, and a creation without a result has failed after a restart. */
#include <string.h>

#include "kmsd/core/internal.h"

#define PROMPT (1 * TIME_SECOND_US) /* what is done by then is answered with its result */

static const char *const STATES[] = {[OPERATION_RUNNING] = "running", [OPERATION_DONE] = "done", [OPERATION_FAILED] = "failed"};

static struct operation *find(struct core *c, const char *id)
{
    for (unsigned n = 0; n < OPERATIONS_MAX; n++)
        if (!strcmp(c->operation[n].id, id))
            return &c->operation[n];
    return NULL;
}

static json_t *view(const struct operation *o)
{
    json_t *v = json_pack("{s:s, s:s, s:s}", "id", o->id, "key", o->key, "state", STATES[o->state]);

    if (o->state == OPERATION_FAILED)
        json_object_set_new(v, "problem", json_pack("{s:s, s:s}", "slug", o->slug, "detail", o->detail));
    return v;
}

/* The oldest one that ended makes room. As many may run as one token works on, one after another. */
static struct operation *room(struct core *c)
{
    struct operation *oldest = NULL;

    for (unsigned n = 0; n < OPERATIONS_MAX; n++) {
        struct operation *o = &c->operation[n];

        if (!o->rq && (!oldest || o->started < oldest->started))
            oldest = o;
    }
    return oldest;
}

int operation_begin(struct core *c, struct request *rq, struct err *e)
{
    struct operation *o = room(c);

    if (!o)
        return err_set(e, ERR_BUSY, "%d keys are being made", OPERATIONS_MAX);
    *o = (struct operation){.rq = rq, .state = OPERATION_RUNNING, .started = c->clock.boot};
    memcpy(o->id, rq->req, sizeof o->id);
    memcpy(o->key, rq->sign.key, strlen(rq->sign.key) + 1);
    return 0;
}

void operation_end(struct core *c, struct request *rq, const struct err *e)
{
    struct operation *o = find(c, rq->req);

    if (!o)
        return;
    o->rq = NULL;
    o->state = e ? OPERATION_FAILED : OPERATION_DONE;
    if (!e)
        return;
    memcpy(o->slug, err_slug(e->code), strnlen(err_slug(e->code), sizeof o->slug - 1));
    memcpy(o->detail, e->detail, strnlen(e->detail, sizeof o->detail - 1));
}

static void accept(struct core *c, const struct operation *o)
{
    BUF_AUTO where = BUF_INIT(128);

    buf_printf(&where, "/v1/operations/%s", o->id);
    reply_accepted(c, o->rq, buf_str(&where), json_pack("{s:o, s:s}", "operation", view(o), "request_id", o->id));
}

void operations_tick(struct core *c)
{
    for (unsigned n = 0; n < OPERATIONS_MAX; n++) {
        const struct operation *o = &c->operation[n];

        if (o->rq && !o->rq->answered && c->clock.boot - o->started >= PROMPT)
            accept(c, o);
    }
}

int operation_show(struct core *c, struct request *rq, struct err *e)
{
    static const char *const none[] = {NULL};
    const struct operation *o = find(c, rq->param);

    if (query_check(rq, none, e) || authorise(c, rq, o ? o->key : rq->param, NULL, NULL, e))
        return -1;
    if (!o)
        return err_set(e, ERR_NOT_FOUND, "there is no operation %s since this start; what became of a key, the list of keys says", rq->param);
    reply_json(c, rq, 200, view(o));
    return 0;
}
