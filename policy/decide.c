/* The decision: a pure function of policy and query. */
#include <string.h>

#include "policy/internal.h"

static const char *const ACTION_NAME[] = {
#define X(code, name) name,
    POLICY_ACTIONS(X)
#undef X
};

static const unsigned char ACTION_HAS[POLICY_ACTION_COUNT] = {
    [POLICY_SIGN] = HAS_KEY | HAS_APP | HAS_CHANNEL,
    [POLICY_SIGN_DIGEST] = HAS_KEY | HAS_APP | HAS_CHANNEL,
    [POLICY_KEY_READ] = HAS_KEY,
    [POLICY_KEY_CREATE] = HAS_KEY,
    [POLICY_KEY_SUSPEND] = HAS_KEY,
    [POLICY_KEY_RESUME] = HAS_KEY,
    [POLICY_KEY_RETIRE] = HAS_KEY,
    [POLICY_KEY_COMPROMISE] = HAS_KEY,
    [POLICY_KEY_DESTROY] = HAS_KEY,
    [POLICY_KEY_RESTORE] = HAS_KEY,
    [POLICY_RELEASE_WITHDRAW] = HAS_APP | HAS_CHANNEL,
};

const char *policy_action_name(enum policy_action a)
{
    return ACTION_NAME[a];
}

unsigned policy_action_has(enum policy_action a)
{
    return ACTION_HAS[a];
}

static bool subject_matches(const struct subject *s, const struct policy_subject *who)
{
    switch (s->kind) {
    case SUBJECT_IDENTITY:
        return !strcmp(s->text, who->name);
    case SUBJECT_KIND:
        return !strcmp(s->text, who->kind);
    case SUBJECT_FOUNDERS:
        return who->founder;
    }
    return false;
}

static bool holds(const struct grant *g, const struct policy_subject *who)
{
    for (size_t n = 0; n < g->n; n++)
        if (subject_matches(&g->subject[n], who))
            return true;
    return false;
}

/* A list restricts only what the action has; a query without the thing that is restricted does not match. */
static bool in(const struct globs *g, bool relevant, const char *text)
{
    if (!relevant || !g->n)
        return true;
    for (size_t n = 0; text && n < g->n; n++)
        if (glob_match(g->item[n], text))
            return true;
    return false;
}

static bool rule_matches(const struct rule *r, const struct policy_query *q)
{
    unsigned has = policy_action_has(q->action);

    return r->action[q->action] && in(&r->keys, has & HAS_KEY, q->key) && in(&r->apps, has & HAS_APP, q->app) &&
           in(&r->channels, has & HAS_CHANNEL, q->channel);
}

static const struct rule *find(const struct role *role, const struct policy_query *q)
{
    for (size_t n = 0; n < role->n; n++)
        if (rule_matches(&role->rule[n], q))
            return &role->rule[n];
    return NULL;
}

void policy_decide(const struct policy *p, const struct policy_query *q, struct policy_decision *out)
{
    *out = (struct policy_decision){.rule = "default-deny"};
    for (size_t n = 0; n < p->n_grants; n++) {
        const struct grant *g = &p->grant[n];
        const struct rule *rule = holds(g, &q->subject) ? find(g->role, q) : NULL;

        if (!rule)
            continue;
        out->allow = true;
        memcpy(out->rule, rule->name, sizeof out->rule);
        return;
    }
}

void policy_roles(const struct policy *p, const struct policy_subject *s, void (*each)(void *ctx, const char *role), void *ctx)
{
    for (size_t n = 0; n < p->n_roles; n++)
        for (size_t i = 0; i < p->n_grants; i++)
            if (p->grant[i].role == &p->role[n] && holds(&p->grant[i], s)) {
                each(ctx, p->role[n].name);
                break;
            }
}

bool policy_can_apply(const struct policy *p, const struct policy_subject *s)
{
    const struct policy_query q = {.subject = *s, .action = POLICY_POLICY_APPLY};
    struct policy_decision d;

    policy_decide(p, &q, &d);
    return d.allow;
}
