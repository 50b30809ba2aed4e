/* Fuzzes the policy language: no crash; what loads decides the same twice, names a rule of the policy for whatever it allows, and allows nothing to nobody. */
#include <stdlib.h>
#include <string.h>

#include "policy/policy.h"

const char *__lsan_default_suppressions(void);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* See fuzz_yaml.c: text in quotes that the library loses. */
const char *__lsan_default_suppressions(void)
{
    return "leak:libfyaml.so\n";
}

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void ask(const struct policy *p, const struct policy_query *q)
{
    struct policy_decision first, again;

    policy_decide(p, q, &first);
    policy_decide(p, q, &again);
    require(first.allow == again.allow && !strcmp(first.rule, again.rule));
    require(first.allow == (strcmp(first.rule, "default-deny") != 0));
    require(strlen(first.rule) < sizeof first.rule);
}

static void count(void *ctx, const char *role)
{
    require(role[0]);
    ++*(unsigned *)ctx;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct policy_subject who[] = {{"ci-a", "ci", false}, {"h-1", "human", true}, {"h-2", "human", false}, {"s", "service", false}};
    static const char *const names[] = {NULL, "release", "app", "main", ""};
    struct err e = {0};
    struct policy *p = policy_load("policy", span_of(data, size), &e);

    require(p || e.code == ERR_BAD_POLICY);
    for (size_t w = 0; p && w < sizeof who / sizeof *who; w++) {
        unsigned roles = 0;

        policy_roles(p, &who[w], count, &roles);
        for (int action = 0; action < POLICY_ACTION_COUNT; action++)
            for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
                const struct policy_query q = {who[w], (enum policy_action)action, names[n], names[n], names[n]};
                struct policy_decision d;

                ask(p, &q);
                policy_decide(p, &q, &d);
                require(!d.allow || roles);
            }
        (void)policy_can_apply(p, &who[w]);
    }
    policy_free(p);
    return 0;
}
