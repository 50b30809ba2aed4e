/* Why was it allowed? Decides again, by the policy that holds at that point of the log, what a record says was decided, and compares the rule. */
#include <string.h>

#include "audit/verify/check.h"

#define POLICY_MAX (4u << 20)

void decision_policy(struct check *c, const struct record *r, struct span yaml)
{
    struct err e = {0};

    policy_free(c->policy);
    c->policy = yaml.data ? policy_load("policy", yaml, &e) : NULL;
    if (!c->policy && yaml.data)
        (void)check_fail(c, r, FINDING_INVALID, "the policy that holds from here on is none: %.200s", e.detail);
}

void decision_policy_blob(struct check *c, const struct record *r, const char *sha256)
{
    BUF_AUTO body = BUF_INIT(POLICY_MAX);

    decision_policy(c, r, blob_check(c, r, sha256, &body) ? span_of(NULL, 0) : buf_span(&body));
}

/* Most events are named as the action that a rule grants. */
static int action_of(const struct record *r)
{
    bool own = !strcmp(text_of(r->detail, "name"), text_of(json_object_get(r->json, "actor"), "name"));
    const char *name = event_name(r->event);

    if (r->event == EVENT_SIGN_RELEASE)
        name = "sign";
    if (r->event == EVENT_IDENTITY_RENEW && own)
        name = "renew";

    for (int a = 0; a < POLICY_ACTION_COUNT; a++)
        if (!strcmp(policy_action_name((enum policy_action)a), name))
            return a;
    return -1;
}

void decision_check(struct check *c, const struct record *r)
{
    const json_t *actor = json_object_get(r->json, "actor"), *artifact = json_object_get(r->json, "artifact");
    const struct identity *i = state_identity(&c->state, text_of(actor, "name"));
    const char *rule = text_of(r->json, "rule");
    int action = action_of(r);
    struct policy_decision d;
    struct policy_query q;

    if (!*rule || action < 0 || !i || !c->policy || strcmp(text_of(r->json, "policy"), c->state.policy))
        return; /* what is wrong there is said elsewhere */
    q = (struct policy_query){
        .subject = {.name = i->name, .kind = i->kind, .founder = i->founder},
        .action = (enum policy_action)action,
        .key = json_string_value(json_object_get(json_object_get(r->json, "key"), "name")),
        .app = json_string_value(json_object_get(artifact, "app")),
        .channel = json_string_value(json_object_get(artifact, "channel")),
    };
    policy_decide(c->policy, &q, &d);
    c->counts.decisions++;
    if (!d.allow)
        (void)check_lacks(c, r, "no rule of the policy that holds there lets %.64s do that; the record names %.140s", i->name, rule);
    else if (strcmp(d.rule, rule))
        (void)check_lacks(c, r, "by the policy that holds there %.140s decides, not %.140s", d.rule, rule);
}
