/* Tests of policy/load.c, policy/decide.c and the example policies. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "policy/policy.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

static const struct policy_subject FOUNDER = {"h-0000000000000001", "human", true};
static const struct policy_subject PERSON = {"h-0000000000000002", "human", false};
static const struct policy_subject CI_EXAMPLE = {"ci-example", "ci", false};
static const struct policy_subject CI_OTHER = {"ci-other", "ci", false};

static struct policy *load(const char *text)
{
    struct err e = {0};
    struct policy *p = policy_load("p.yaml", span_str(text), &e);

    if (!p)
        fail_msg("%s", e.detail);
    return p;
}

/* The rule that decides, with "+" before it when it allows; valid until the next call. */
static const char *decide(const struct policy *p, struct policy_subject who, enum policy_action a, const char *key, const char *app,
    const char *channel)
{
    static char text[ERR_RULE_MAX + 2];
    const struct policy_query q = {who, a, key, app, channel};
    struct policy_decision d;

    policy_decide(p, &q, &d);
    snprintf(text, sizeof text, "%s%s", d.allow ? "+" : "", d.rule);
    return text;
}

static struct policy *example(const char *name)
{
    char path[128], text[16384];
    struct err e = {0};
    struct policy *p;
    FILE *f;
    size_t n;

    snprintf(path, sizeof path, "policy/examples/%s.yaml", name);
    f = fopen(path, "rb");
    if (!f)
        fail_msg("%s cannot be read; run the test from the top of the source tree", path);
    n = fread(text, 1, sizeof text, f);
    fclose(f);
    p = policy_load(path, span_of(text, n), &e);
    if (!p)
        fail_msg("%s", e.detail);
    return p;
}

static void action_names(void **state)
{
    (void)state;
    assert_string_equal(policy_action_name(POLICY_SIGN), "sign");
    assert_string_equal(policy_action_name(POLICY_STATUS_READ), "status.read");
    for (unsigned a = 0; a < POLICY_ACTION_COUNT; a++)
        for (unsigned b = 0; b < a; b++)
            assert_string_not_equal(policy_action_name((enum policy_action)a), policy_action_name((enum policy_action)b));
}

/* Founders may do all but sign; nobody else may do anything. */
static void bootstrap(void **state)
{
    struct policy *p = example("bootstrap");

    (void)state;
    for (unsigned a = 0; a < POLICY_ACTION_COUNT; a++) {
        assert_string_equal(decide(p, FOUNDER, (enum policy_action)a, "k", "a", "c"),
            a == POLICY_SIGN || a == POLICY_SIGN_DIGEST ? "default-deny" : "+administrator/administer");
        assert_string_equal(decide(p, PERSON, (enum policy_action)a, "k", "a", "c"), "default-deny");
        assert_string_equal(decide(p, CI_EXAMPLE, (enum policy_action)a, "k", "a", "c"), "default-deny");
    }
    assert_true(policy_can_apply(p, &FOUNDER));
    assert_false(policy_can_apply(p, &PERSON));
    policy_free(p);
}

static void dev(void **state)
{
    struct policy *p = example("dev");

    (void)state;
    assert_string_equal(decide(p, CI_EXAMPLE, POLICY_SIGN, "release", "com.example.app", "production"), "+example-ci/sign-example");
    assert_string_equal(decide(p, CI_EXAMPLE, POLICY_SIGN, "release", "com.example.other", "beta"), "+example-ci/sign-example");
    assert_string_equal(decide(p, CI_EXAMPLE, POLICY_SIGN, "release", "com.example.app", "nightly"), "default-deny");
    assert_string_equal(decide(p, CI_EXAMPLE, POLICY_SIGN, "release", "org.example.app", "production"), "default-deny");
    assert_string_equal(decide(p, CI_EXAMPLE, POLICY_SIGN, "release2", "com.example.app", "production"), "default-deny");
    assert_string_equal(decide(p, CI_EXAMPLE, POLICY_POLICY_APPLY, NULL, NULL, NULL), "default-deny");
    assert_true(decide(p, CI_EXAMPLE, POLICY_KEY_READ, "release", NULL, NULL)[0] == '+');
    assert_string_equal(decide(p, CI_OTHER, POLICY_SIGN, "release", "com.example.app", "production"), "default-deny");
    assert_string_equal(decide(p, FOUNDER, POLICY_SIGN, "release", "com.example.app", "production"), "default-deny");
    assert_true(policy_can_apply(p, &FOUNDER));
    policy_free(p);
}

static void release(void **state)
{
    const struct policy_subject nightly = {"ci-shop-nightly", "ci", false}, pipeline = {"ci-shop-release", "ci", false};
    struct policy *p = example("release");

    (void)state;
    assert_string_equal(decide(p, nightly, POLICY_SIGN, "shop-beta", "com.example.shop.app", "beta"), "+shop-nightly/sign-shop-beta");
    assert_string_equal(decide(p, nightly, POLICY_SIGN, "shop-production", "com.example.shop.app", "production"), "default-deny");
    assert_string_equal(decide(p, pipeline, POLICY_SIGN, "shop-production", "com.example.shop.app", "production"),
        "+shop-release/sign-shop-production");
    assert_string_equal(decide(p, FOUNDER, POLICY_RELEASE_WITHDRAW, NULL, "com.example.shop.app", "production"), "+administrator/withdraw-any");
    assert_true(policy_can_apply(p, &FOUNDER));
    policy_free(p);
}

#define HEAD "version: 1\nroles:\n  r:\n"
#define TAIL "grants:\n  - {role: r, to: [founders]}\n"

/* A restriction counts for the actions that have the thing, and then a query without it does not match. */
static void scopes(void **state)
{
    struct policy *p = load(HEAD "    - {name: one, allow: [key.create, release.withdraw, key.list],"
                            " keys: [team-*], apps: [com.a], channels: [beta]}\n" TAIL);

    (void)state;
    assert_string_equal(decide(p, FOUNDER, POLICY_KEY_CREATE, "team-1", NULL, NULL), "+r/one");
    assert_string_equal(decide(p, FOUNDER, POLICY_KEY_CREATE, "other", NULL, NULL), "default-deny");
    assert_string_equal(decide(p, FOUNDER, POLICY_KEY_CREATE, NULL, NULL, NULL), "default-deny");
    assert_string_equal(decide(p, FOUNDER, POLICY_RELEASE_WITHDRAW, NULL, "com.a", "beta"), "+r/one");
    assert_string_equal(decide(p, FOUNDER, POLICY_RELEASE_WITHDRAW, NULL, "com.a", "production"), "default-deny");
    assert_string_equal(decide(p, FOUNDER, POLICY_RELEASE_WITHDRAW, NULL, "com.a", NULL), "default-deny");
    assert_string_equal(decide(p, FOUNDER, POLICY_RELEASE_WITHDRAW, NULL, NULL, "beta"), "default-deny");
    assert_string_equal(decide(p, FOUNDER, POLICY_KEY_LIST, NULL, NULL, NULL), "+r/one");
    assert_string_equal(decide(p, FOUNDER, POLICY_KEY_READ, "team-1", NULL, NULL), "default-deny");
    policy_free(p);
}

static void subjects(void **state)
{
    struct policy *p = load("version: 1\nroles:\n  by-name: [{name: x, allow: [key.list]}]\n  by-kind: [{name: x, allow: [status.read]}]\n"
                            "  first: [{name: x, allow: [policy.read]}]\n"
                            "grants:\n  - {role: by-name, to: ['identity:ci-example', 'identity:svc']}\n"
                                "  - {role: by-kind, to: ['kind:ci', 'kind:human']}\n"
                            "  - {role: first, to: [founders]}\n");
    const struct policy_subject service = {"svc", "service", false}, named_kind = {"ci", "service", false};

    (void)state;
    assert_string_equal(decide(p, CI_EXAMPLE, POLICY_KEY_LIST, NULL, NULL, NULL), "+by-name/x");
    assert_string_equal(decide(p, service, POLICY_KEY_LIST, NULL, NULL, NULL), "+by-name/x");
    assert_string_equal(decide(p, CI_OTHER, POLICY_KEY_LIST, NULL, NULL, NULL), "default-deny");
    assert_string_equal(decide(p, CI_OTHER, POLICY_STATUS_READ, NULL, NULL, NULL), "+by-kind/x");
    assert_string_equal(decide(p, PERSON, POLICY_STATUS_READ, NULL, NULL, NULL), "+by-kind/x");
    assert_string_equal(decide(p, service, POLICY_STATUS_READ, NULL, NULL, NULL), "default-deny");
    assert_string_equal(decide(p, named_kind, POLICY_STATUS_READ, NULL, NULL, NULL), "default-deny"); /* a name is no kind */
    assert_string_equal(decide(p, FOUNDER, POLICY_POLICY_READ, NULL, NULL, NULL), "+first/x");
    assert_string_equal(decide(p, PERSON, POLICY_POLICY_READ, NULL, NULL, NULL), "default-deny");
    policy_free(p);
}

/* The right to sign statements is not one to sign digests, and the other way round. */
static void digests_apart(void **state)
{
    struct policy *p = load("version: 1\nroles:\n  r:\n    - {name: s, allow: [sign], keys: ['*'], apps: ['*'], channels: ['*']}\n"
                            "    - {name: d, allow: [sign.digest], keys: [fw], apps: ['a.*'], channels: [beta]}\ngrants:\n  - {role: r, to: ['kind:ci']}\n");

    (void)state;
    assert_string_equal(decide(p, CI_OTHER, POLICY_SIGN, "any", "a.b", "beta"), "+r/s");
    assert_string_equal(decide(p, CI_OTHER, POLICY_SIGN_DIGEST, "fw", "a.b", "beta"), "+r/d");
    assert_string_equal(decide(p, CI_OTHER, POLICY_SIGN_DIGEST, "any", "a.b", "beta"), "default-deny");
    assert_string_equal(decide(p, CI_OTHER, POLICY_SIGN_DIGEST, "fw", "b.b", "beta"), "default-deny");
    assert_string_equal(decide(p, CI_OTHER, POLICY_SIGN_DIGEST, "fw", "a.b", "stable"), "default-deny");
    policy_free(p);
}

/* The first rule that allows is the one named. */
static void first_rule(void **state)
{
    struct policy *p = load("version: 1\nroles:\n  z: [{name: a, allow: [key.list]}, {name: b, allow: [key.list, status.read]}]\n"
        "  y: [{name: c, allow: [key.list]}]\n"
                            "grants:\n  - {role: z, to: [founders]}\n  - {role: y, to: ['kind:human']}\n");

    (void)state;
    assert_string_equal(decide(p, FOUNDER, POLICY_KEY_LIST, NULL, NULL, NULL), "+z/a");
    assert_string_equal(decide(p, FOUNDER, POLICY_STATUS_READ, NULL, NULL, NULL), "+z/b");
    assert_string_equal(decide(p, PERSON, POLICY_KEY_LIST, NULL, NULL, NULL), "+y/c");
    policy_free(p);
}

static void collect(void *ctx, const char *role)
{
    char *text = ctx;

    snprintf(text + strlen(text), 64 - strlen(text), "%s,", role);
}

static void roles_once(void **state)
{
    struct policy *p = load("version: 1\nroles:\n  b: [{name: x, allow: [key.list]}]\n  a: [{name: x, allow: [key.list]}]\n"
        "  n: [{name: x, allow: [key.list]}]\n"
                            "grants:\n  - {role: a, to: [founders]}\n  - {role: b, to: [founders, 'kind:human']}\n"
                                "  - {role: b, to: ['kind:human']}\n");
    char founder[64] = "", person[64] = "", ci[64] = "";

    (void)state;
    policy_roles(p, &FOUNDER, collect, founder);
    policy_roles(p, &PERSON, collect, person);
    policy_roles(p, &CI_OTHER, collect, ci);
    assert_string_equal(founder, "b,a,");
    assert_string_equal(person, "b,");
    assert_string_equal(ci, "");
    policy_free(p);
}

/* The longest role and rule names still fit the text of a decision. */
static void longest_rule_name(void **state)
{
    char name[65], text[512], want[140];
    struct policy *p;

    (void)state;
    memset(name, 'n', 64);
    name[64] = '\0';
    snprintf(text, sizeof text, "version: 1\nroles:\n  %s: [{name: %s, allow: [key.list]}]\ngrants: [{role: %s, to: [founders]}]\n", name, name,
        name);
    snprintf(want, sizeof want, "+%s/%s", name, name);
    p = load(text);
    assert_string_equal(decide(p, FOUNDER, POLICY_KEY_LIST, NULL, NULL, NULL), want);
    policy_free(p);
}

#define RULE HEAD "    - {name: one, allow: [key.list]}\n"

/* Each is refused at its place, with words about what is wrong. */
static void refuses(void **state)
{
    static const struct {
        const char *text, *place, *words;
    } rows[] = {
        {"", "p.yaml:1:1", ""},
        {"[]", "p.yaml:1:1", "mapping"},
        {"version: 1\n", "p.yaml:1:1", "needs version, roles and grants"},
        {"version: 2\nroles:\n  r: [{name: one, allow: [key.list]}]\n" TAIL, "p.yaml:1:10", "version must be 1"},
        {"version: [1]\nroles:\n  r: [{name: one, allow: [key.list]}]\n" TAIL, "p.yaml:1:10", "version must be 1"},
        {"version: 1\nversion: 1\n", "p.yaml:2:1", "twice"},
        {RULE TAIL "extra: 1\n", "p.yaml:7:1", "extra"},
        {"version: 1\nroles: {}\n" TAIL, "p.yaml:2:8", "roles"},
        {"version: 1\nroles: [a]\n" TAIL, "p.yaml:2:8", "roles"},
        {"version: 1\nroles:\n  Bad: [{name: one, allow: [key.list]}]\n" TAIL, "p.yaml:3:3", "[a-z0-9]"},
        {"version: 1\nroles:\n  r: []\n" TAIL, "p.yaml:3:6", "list of 1"},
        {"version: 1\nroles:\n  r: [one]\n" TAIL, "p.yaml:3:7", "mapping"},
        {"version: 1\nroles:\n  r: [{name: a, allow: [key.list]}]\n  r: [{name: a, allow: [key.list]}]\n" TAIL, "p.yaml:4:3", "twice"},
        {HEAD "    - {name: one}\n" TAIL, "p.yaml:4:7", "needs name and allow"},
        {HEAD "    - {allow: [key.list]}\n" TAIL, "p.yaml:4:7", "needs name and allow"},
        {HEAD "    - {name: 'a b', allow: [key.list]}\n" TAIL, "p.yaml:4:", "[a-z0-9]"},
        {HEAD "    - {name: [a], allow: [key.list]}\n" TAIL, "p.yaml:4:14", "name"},
        {HEAD "    - {name: one, allow: []}\n" TAIL, "p.yaml:4:26", "list of 1"},
        {HEAD "    - {name: one, allow: key.list}\n" TAIL, "p.yaml:4:26", "list"},
        {HEAD "    - {name: one, allow: [key.delete]}\n" TAIL, "p.yaml:4:27", "key.delete"},
        {HEAD "    - {name: one, allow: [[sign]]}\n" TAIL, "p.yaml:4:27", "action"},
        {HEAD "    - {name: one, allow: ['*']}\n" TAIL, "p.yaml:4:", "action"},
        {HEAD "    - {name: one, allow: [key.list, key.list]}\n" TAIL, "p.yaml:4:37", "twice"},
        {HEAD "    - {name: one, allow: [key.list], deny: [sign]}\n" TAIL, "p.yaml:4:38", "deny"},
        {HEAD "    - {name: one, allow: [key.list]}\n    - {name: one, allow: [key.read]}\n" TAIL, "p.yaml:5:14", "two rules named one"},
        {HEAD "    - {name: one, allow: [sign], apps: ['*'], channels: ['*']}\n" TAIL, "p.yaml:4:7", "keys"},
        {HEAD "    - {name: one, allow: [sign], keys: ['*'], channels: ['*']}\n" TAIL, "p.yaml:4:7", "apps"},
        {HEAD "    - {name: one, allow: [sign], keys: ['*'], apps: ['*']}\n" TAIL, "p.yaml:4:7", "channels"},
        {HEAD "    - {name: one, allow: [sign], keys: [], apps: ['*'], channels: ['*']}\n" TAIL, "p.yaml:4:40", "list of 1"},
        {HEAD "    - {name: one, allow: [sign], keys: ['a b'], apps: ['*'], channels: ['*']}\n" TAIL, "p.yaml:4:", "keys"},
        {HEAD "    - {name: one, allow: [sign], keys: [''], apps: ['*'], channels: ['*']}\n" TAIL, "p.yaml:4:", "keys"},
        {HEAD "    - {name: one, allow: [key.list], keys: [a]}\n" TAIL, "p.yaml:4:44", "keys"},
        {HEAD "    - {name: one, allow: [key.read], apps: [a]}\n" TAIL, "p.yaml:4:44", "apps"},
        {HEAD "    - {name: one, allow: [release.withdraw], keys: [a]}\n" TAIL, "p.yaml:4:52", "keys"},
        {HEAD "    - {name: one, allow: [sign.digest], apps: ['*'], channels: ['*']}\n" TAIL, "p.yaml:4:7", "sign.digest must name its keys"},
        {HEAD "    - {name: one, allow: [sign.digest], keys: [a, 'fw-*'], apps: ['*'], channels: ['*']}\n" TAIL, "p.yaml:4:51", "in full"},
        {HEAD "    - {name: one, allow: [sign, sign.digest], keys: ['*'], apps: ['*'], channels: ['*']}\n" TAIL, "p.yaml:4:54", "in full"},
        {RULE "grants: []\n", "p.yaml:5:9", "list of 1"},
        {RULE "grants:\n  - {role: other, to: [founders]}\n", "p.yaml:6:12", "no role other"},
        {RULE "grants:\n  - {role: r}\n", "p.yaml:6:5", "needs role and to"},
        {RULE "grants:\n  - {role: r, to: []}\n", "p.yaml:6:19", "list of 1"},
        {RULE "grants:\n  - {role: r, to: founders}\n", "p.yaml:6:19", "list"},
        {RULE "grants:\n  - {role: r, to: [everybody]}\n", "p.yaml:6:20", "identity:NAME"},
        {RULE "grants:\n  - {role: r, to: ['kind:robot']}\n", "p.yaml:6:", "ci|service|human"},
        {RULE "grants:\n  - {role: r, to: ['kind:']}\n", "p.yaml:6:", "ci|service|human"},
        {RULE "grants:\n  - {role: r, to: [ci]}\n", "p.yaml:6:20", "identity:NAME"},
        {RULE "grants:\n  - {role: r, to: ['identity:']}\n", "p.yaml:6:", "[a-z0-9]"},
        {RULE "grants:\n  - {role: r, to: ['identity:*']}\n", "p.yaml:6:", "[a-z0-9]"},
        {RULE "grants:\n  - {role: r, to: [founders], until: never}\n", "p.yaml:6:31", "until"},
        {RULE "grants:\n  - {role: &a r, to: [founders]}\n", "p.yaml:6:1", "anchors"},
        {"version: 1\nroles: {r: [\n", "p.yaml:", ""},
    };

    (void)state;
    for (size_t n = 0; n < COUNT(rows); n++) {
        struct err e = {0};
        struct policy *p = policy_load("p.yaml", span_str(rows[n].text), &e);

        if (p)
            fail_msg("accepted:\n%s", rows[n].text);
        if (e.code != ERR_BAD_POLICY || strncmp(e.detail, rows[n].place, strlen(rows[n].place)) || !strstr(e.detail, rows[n].words))
            fail_msg("wanted %s ... %s, got %s for:\n%s", rows[n].place, rows[n].words, e.detail, rows[n].text);
    }
}

static void frees_nothing(void **state)
{
    (void)state;
    policy_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(action_names), cmocka_unit_test(bootstrap), cmocka_unit_test(dev), cmocka_unit_test(release), cmocka_unit_test(scopes),
        cmocka_unit_test(subjects), cmocka_unit_test(digests_apart), cmocka_unit_test(first_rule), cmocka_unit_test(roles_once), cmocka_unit_test(longest_rule_name),
        cmocka_unit_test(refuses), cmocka_unit_test(frees_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
