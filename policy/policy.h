/* The policy: who may do what, with which key, for which app and channel. Loading is strict; the decision is a pure function that names its rule; nothing is allowed without a rule. */
#ifndef KMS_POLICY_POLICY_H
#define KMS_POLICY_POLICY_H

#include "base/buf.h"
#include "base/err.h"

#define POLICY_TEXT_MAX (256u << 10)

/* X(code, name): the actions that a rule may grant. */
#define POLICY_ACTIONS(X) \
    X(SIGN, "sign") X(SIGN_DIGEST, "sign.digest") \
    X(KEY_LIST, "key.list") X(KEY_READ, "key.read") X(KEY_CREATE, "key.create") \
    X(KEY_SUSPEND, "key.suspend") X(KEY_RESUME, "key.resume") X(KEY_RETIRE, "key.retire") X(KEY_COMPROMISE, "key.compromise") X(KEY_DESTROY, "key.destroy") X(KEY_RESTORE, "key.restore") \
    X(POLICY_READ, "policy.read") X(POLICY_CHECK, "policy.check") X(POLICY_APPLY, "policy.apply") \
    X(IDENTITY_LIST, "identity.list") X(IDENTITY_READ, "identity.read") X(IDENTITY_CREATE, "identity.create") \
    X(IDENTITY_DISABLE, "identity.disable") X(IDENTITY_ENABLE, "identity.enable") X(IDENTITY_RENEW, "identity.renew") \
    X(RELEASE_WITHDRAW, "release.withdraw") X(RENEW, "renew") X(STATUS_READ, "status.read") X(TIME_CONFIRM, "time.confirm") \
    X(AUDIT_READ, "audit.read")
enum policy_action {
#define X(code, name) POLICY_##code,
    POLICY_ACTIONS(X)
#undef X
    POLICY_ACTION_COUNT
};
const char *policy_action_name(enum policy_action a);

/* Who asks, as the state knows it. */
struct policy_subject {
    const char *name;   /* identity name, or a person's handle */
    const char *kind;   /* "ci", "service", "human" */
    bool founder;       /* recorded in log.genesis */
};
/* What is asked; NULL where the action has no such thing. A rule that restricts keys, apps or channels does not match a query where that is NULL, unless the action never has it. */
struct policy_query {
    struct policy_subject subject;
    enum policy_action action;
    const char *key, *app, *channel;
};
struct policy_decision {
    bool allow;
    char rule[ERR_RULE_MAX];     /* "<role>/<rule name>" that allowed; "default-deny" when none did */
};

struct policy; /* opaque, immutable after loading */
/* Parses and checks the YAML text. ERR_BAD_POLICY with "name:line:col: ...". Free with policy_free. */
struct policy *policy_load(const char *name, struct span yaml, struct err *e);
void policy_free(struct policy *p);
/* First matching rule in file order; deterministic. */
void policy_decide(const struct policy *p, const struct policy_query *q, struct policy_decision *out);
/* Calls each() with the names of the roles that the subject holds. */
void policy_roles(const struct policy *p, const struct policy_subject *s, void (*each)(void *ctx, const char *role), void *ctx);
/* Could the subject, as a human, do `policy.apply`? Used to refuse a policy that locks everybody out. */
bool policy_can_apply(const struct policy *p, const struct policy_subject *s);

#endif
