/* The loaded form of a policy, shared by its loader and the decision. */
#ifndef KMS_POLICY_INTERNAL_H
#define KMS_POLICY_INTERNAL_H

#include "policy/names.h"
#include "policy/policy.h"

#define ROLES_MAX 128
#define RULES_MAX 64     /* a role */
#define GLOBS_MAX 64     /* a list */
#define SUBJECTS_MAX 512 /* a grant */
#define GRANTS_MAX 256

/* What a query of an action has, and so what a rule for it may restrict. */
enum { HAS_KEY = 1, HAS_APP = 2, HAS_CHANNEL = 4 };
unsigned policy_action_has(enum policy_action a);

struct globs {
    size_t n;
    char **item;          /* n == 0: not restricted */
};
struct rule {
    char name[ERR_RULE_MAX]; /* "<role>/<name>", as a decision gives it */
    bool action[POLICY_ACTION_COUNT];
    struct globs keys, apps, channels;
};
struct role {
    char name[NAME_MAX_LEN + 1];
    size_t n;
    struct rule *rule;
};
enum subject_kind { SUBJECT_IDENTITY, SUBJECT_KIND, SUBJECT_FOUNDERS };
struct subject {
    enum subject_kind kind;
    char text[NAME_MAX_LEN + 1];
};
struct grant {
    const struct role *role;
    size_t n;
    struct subject *subject;
};
struct policy {
    size_t n_roles, n_grants;
    struct role *role;
    struct grant *grant;
};

#endif
