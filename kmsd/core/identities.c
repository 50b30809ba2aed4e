/* Identities: listed, shown, disabled, enabled. */
#include <string.h>

#include "kmsd/core/internal.h"

struct page {
    json_t *items;
    unsigned limit;
    const char *last;
    bool more;
};

static bool add(void *ctx, struct identity *i)
{
    struct page *p = ctx;

    if (json_array_size(p->items) == p->limit) {
        p->more = true;
        return false;
    }
    json_array_append_new(p->items, identity_view(i));
    p->last = i->name;
    return true;
}

int identities_list(struct core *c, struct request *rq, struct err *e)
{
    char after[NAME_MAX_LEN + 1];
    struct page p = {0};

    if (query_page(rq, &p.limit, after, e) || authorise(c, rq, NULL, NULL, NULL, e))
        return -1;
    p.items = json_array();
    state_each_identity(c->state, after, add, &p);
    reply_json(c, rq, 200, json_pack("{s:o, s:o}", "items", p.items, "next", p.more ? json_string(p.last) : json_null()));
    return 0;
}

static struct identity *named(struct core *c, struct request *rq, struct err *e)
{
    struct identity *i;

    if (name_check(rq->param, "identity", e) || authorise(c, rq, NULL, NULL, NULL, e))
        return NULL;
    i = state_identity(c->state, rq->param);
    if (!i)
        err_set(e, ERR_NOT_FOUND, "there is no identity %s", rq->param);
    return i;
}

int identities_show(struct core *c, struct request *rq, struct err *e)
{
    static const char *const none[] = {NULL};
    const struct identity *i;

    if (query_check(rq, none, e) || !(i = named(c, rq, e)))
        return -1;
    reply_json(c, rq, 200, identity_view(i));
    return 0;
}

/* Somebody must remain who can change the policy. */
struct others {
    const struct policy *policy;
    const char *not_this;
    bool found;
};

static bool may_apply(void *ctx, struct identity *i)
{
    struct others *o = ctx;
    struct policy_subject subject = identity_subject(i);

    o->found = strcmp(i->name, o->not_this) && i->enabled && i->n_ssh && !strcmp(i->kind, "human") && policy_can_apply(o->policy, &subject);
    return !o->found;
}

static int set_enabled(struct core *c, struct request *rq, bool enabled, struct err *e)
{
    struct json_reader r;
    const char *reason;
    const struct identity *i;
    json_t *record;
    int verdict;

    if (request_json(rq, &r, e) || json_get_str(&r, "reason", 500, &reason, e) || json_done(&r, e) ||
        reason_check(reason, e) || !(i = named(c, rq, e)))
        return -1;
    verdict = idem_check(c, rq, e);
    if (verdict)
        return verdict < 0 ? -1 : 0;
    if (i->enabled == enabled)
        return err_set(e, ERR_ALREADY_EXISTS, "identity %s is %s already", i->name, enabled ? "enabled" : "disabled");
    if (!enabled && !strcmp(i->kind, "human")) {
        struct others o = {.policy = c->state->policy, .not_this = i->name};

        state_each_identity(c->state, "", may_apply, &o);
        if (!o.found)
            return err_set(e, ERR_POLICY_LOCKOUT, "%s is the last enabled human who may do policy.apply", i->name);
    }
    record = record_change(c, rq, rq->route->event, "ok", e);
    if (!record)
        return -1;
    record_text(record, "reason", reason);
    json_object_set_new(record, "detail", json_pack("{s:s}", "name", i->name));
    return commit_answer(c, rq, record, e);
}

int identities_disable(struct core *c, struct request *rq, struct err *e)
{
    return set_enabled(c, rq, false, e);
}

int identities_enable(struct core *c, struct request *rq, struct err *e)
{
    return set_enabled(c, rq, true, e);
}
