/* The policy: shown, checked, and replaced. */
#include <string.h>

#include "kmsd/core/internal.h"

int policy_show(struct core *c, struct request *rq, struct err *e)
{
    static const char *const none[] = {NULL};
    const struct state *s = c->state;

    if (query_check(rq, none, e) || authorise(c, rq, NULL, NULL, NULL, e))
        return -1;
    reply_json(c, rq, 200, json_pack("{s:s#, s:I, s:s, s:s}", "policy", (const char *)s->policy_text.data, s->policy_text.len, "seq",
                                     (json_int_t)s->policy_seq, "sha256", s->policy_sha256, "time", s->policy_time));
    return 0;
}

struct appliers {
    const struct policy *policy;
    bool found;
};

static bool may_apply(void *ctx, struct identity *i)
{
    struct appliers *a = ctx;
    struct policy_subject subject = identity_subject(i);

    a->found = i->enabled && i->n_ssh && !strcmp(i->kind, "human") && policy_can_apply(a->policy, &subject);
    return !a->found;
}

static int check(const struct core *c, const struct request *rq, struct err *e)
{
    struct appliers a = {0};
    struct policy *p = policy_load("policy", rq->body, e);

    if (!p)
        return -1;
    a.policy = p;
    state_each_identity(c->state, "", may_apply, &a);
    policy_free(p);
    return a.found ? 0 : err_set(e, ERR_POLICY_LOCKOUT, "no enabled human with an SSH key may do policy.apply under the new policy");
}

int policy_check(struct core *c, struct request *rq, struct err *e)
{
    if (authorise(c, rq, NULL, NULL, NULL, e) || check(c, rq, e))
        return -1;
    reply_json(c, rq, 200, json_pack("{s:s, s:b}", "sha256", rq->body_sha256, "valid", 1));
    return 0;
}

/* The body is the policy, so its SHA-256 is the one that was signed; the policy always is a blob. */
int policy_put(struct core *c, struct request *rq, struct err *e)
{
    json_t *record;
    int verdict;

    if (authorise(c, rq, NULL, NULL, NULL, e))
        return -1;
    verdict = idem_check(c, rq, e);
    if (verdict)
        return verdict < 0 ? -1 : 0;
    if (check(c, rq, e) || (rq->body.len <= BODY_INLINE_MAX && commit_blob(c, rq->body_sha256, rq->body, e)))
        return -1;
    record = record_change(c, rq, "policy.apply", "ok", e);
    if (!record)
        return -1;
    json_object_set_new(record, "detail", json_pack("{s:s}", "sha256", rq->body_sha256));
    return commit_answer(c, rq, record, e);
}
