/* Asks the policy, and keeps which rule of which policy decided. */
#include <string.h>

#include "kmsd/core/internal.h"

/* To sign bare digests with a key is a right of its own. The refusal does not say which of the two rights is missing: who may not sign with a key does
 * not learn what kind of key it is, or whether there is one. */
static enum policy_action action_of(const struct core *c, const struct request *rq, const char *key)
{
    const struct key *k = rq->route->action == POLICY_SIGN ? state_key(c->state, key) : NULL;

    return k && strcmp(k->scheme, "statement") ? POLICY_SIGN_DIGEST : rq->route->action;
}

/* asked: the action that a refusal names; q's may be a narrower one. */
static int decide(struct core *c, struct request *rq, enum policy_action asked, struct policy_query *q, struct err *e)
{
    const struct identity *i = state_identity(c->state, rq->identity);
    struct policy_decision d = {0};

    if (!i || !i->enabled)
        return err_set(e, ERR_FORBIDDEN, "the identity of this certificate is disabled");
    q->subject = identity_subject(i);
    policy_decide(c->state->policy, q, &d);
    memcpy(rq->rule, d.rule, sizeof rq->rule);
    memcpy(rq->policy, c->state->policy_sha256, sizeof rq->policy);
    if (d.allow)
        return 0;
    memcpy(e->rule, d.rule, sizeof e->rule);
    return err_set(e, ERR_FORBIDDEN, "no rule lets %s do %s%s%s%s%s%s%s", i->name, policy_action_name(asked), q->key ? " with key " : "", q->key ? q->key : "",
                   q->app ? " for app " : "", q->app ? q->app : "", q->channel ? " on channel " : "", q->channel ? q->channel : "");
}

int authorise(struct core *c, struct request *rq, const char *key, const char *app, const char *channel, struct err *e)
{
    struct policy_query q = {.action = action_of(c, rq, key), .key = key, .app = app, .channel = channel};

    return decide(c, rq, rq->route->action, &q, e);
}

int authorise_as(struct core *c, struct request *rq, enum policy_action action, struct err *e)
{
    struct policy_query q = {.action = action};

    return decide(c, rq, action, &q, e);
}

int reason_check(const char *reason, struct err *e)
{
    return *reason ? 0 : err_set(e, ERR_BAD_REQUEST, "reason is empty: say why, it stands in the log");
}
