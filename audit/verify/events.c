/* Which checks a record gets: one row for every event. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "audit/verify/check.h"

#define POLICY_MAX (4u << 20)

static void copy(char *out, size_t size, const char *text)
{
    size_t n = strnlen(text, size - 1);

    memcpy(out, text, n);
    out[n] = '\0';
}

static void add_founder(struct check *c, const struct record *r, const json_t *identity)
{
    struct identity *i = state_add_identity(&c->state, identity);

    if (i) {
        i->founder = true;
        credentials_take(c, r, i);
    } else {
        (void)check_fail(c, r, FINDING_INVALID, "an identity stands there twice");
    }
}

static void on_genesis(struct check *c, const struct record *r)
{
    const json_t *identities = json_object_get(r->detail, "identities"), *checkpoint = json_object_get(r->detail, "checkpoint");
    struct state *s = &c->state;

    if (r->seq)
        (void)check_fail(c, r, FINDING_INVALID, "log.genesis stands elsewhere than in record 0");
    if (s->genesis)
        return;
    s->genesis = true;
    copy(s->instance, sizeof s->instance, text_of(r->detail, "instance"));
    copy(s->mode, sizeof s->mode, text_of(r->detail, "mode"));
    copy(s->policy, sizeof s->policy, text_of(r->json, "policy"));
    if (count_of(r->detail, "format") != 1)
        (void)check_fail(c, r, FINDING_INVALID, "its format version is not 1");
    ca_take(c, r);
    for (size_t n = 0; n < json_array_size(identities); n++)
        add_founder(c, r, json_array_get(identities, n));
    token_key_take(c, r, checkpoint);
    birth_check(c, r, "checkpoint", json_object_get(checkpoint, "birth"), "CKM_EDDSA", false);
    decision_policy_blob(c, r, s->policy);
}

static void on_policy(struct check *c, const struct record *r)
{
    BUF_AUTO body = BUF_INIT(POLICY_MAX);
    const char *hash = text_of(r->detail, "sha256");

    if (r->outcome != OUTCOME_OK)
        return;
    bool read = !request_check(c, r, "PUT", "/v1/policy", &body);

    decision_check(c, r);
    if (strcmp(text_of(r->json, "body_sha256"), hash))
        (void)check_fail(c, r, FINDING_INVALID, "the policy that holds from here on is not the body of the signed request");
    if (!json_object_get(json_object_get(r->json, "request"), "blob"))
        (void)blob_check(c, r, hash, NULL);
    copy(c->state.policy, sizeof c->state.policy, hash);
    decision_policy(c, r, read ? buf_span(&body) : span_of(NULL, 0));
    applier_check(c, r);
}

/* A person with the rights of the service decided so; whoever reads the log should know. */
static void on_reset(struct check *c, const struct record *r)
{
    const json_t *old = json_object_get(r->detail, "old");
    const char *how = text_of(r->detail, "how");
    bool named = strcmp(how, "missing") && strcmp(how, "unusable");

    if (named != (old != NULL))
        (void)check_fail(c, r, FINDING_INVALID, "it names an old anchor where there was none, or names none where there was one");
    if (old && count_of(old, "counter") >= count_of(r->detail, "counter"))
        (void)check_fail(c, r, FINDING_INVALID, "its anchor is not newer than the one it overrules");
    if (old && named && strcmp(how, "sound"))
        report_note(c->report, "record %llu: the log was accepted although its anchor (%s) named record %llu: what stood there may be lost",
                    (unsigned long long)r->seq, how, (unsigned long long)count_of(old, "seq"));
    else
        report_note(c->report, "record %llu: the log was accepted without the proof of its anchor (%s)", (unsigned long long)r->seq, how);
}

/* The snapshot itself is no evidence, only a shorter way for a start, and may be gone: what the record says of it must be possible. */
static void on_snapshot(struct check *c, const struct record *r)
{
    uint64_t seq = count_of(r->detail, "seq");
    BUF_AUTO file = BUF_INIT(64);

    buf_printf(&file, "%020" PRIu64 ".jsonl", seq);
    if (!seq || seq > r->seq || strcmp(text_of(r->detail, "file"), buf_str(&file)) || !count_of(r->detail, "bytes"))
        (void)check_fail(c, r, FINDING_INVALID, "it names a snapshot that cannot be");
    else if (seq <= c->state.snapshot)
        (void)check_lacks(c, r, "it names a snapshot that is no newer than the one named before");
    c->state.snapshot = seq;
}

static void check_findings(struct check *c, const struct record *r, const json_t *list, bool twice)
{
    for (size_t n = 0; n < json_array_size(list); n++) {
        const json_t *item = json_array_get(list, n);
        const struct key *k = state_key(&c->state, text_of(item, "name"), count_of(item, "version"));
        bool more = count_of(item, "private") > 1 || count_of(item, "public") > 1;

        if (!k || strcmp(k->key_id, text_of(item, "key_id")))
            (void)check_lacks(c, r, "it names a key that no record made");
        if (more != twice || (count_of(item, "private") == 1 && count_of(item, "public") == 1))
            (void)check_fail(c, r, FINDING_INVALID, "what it counted is not what it says");
    }
}

/* What the token was found to hold against the log. Keys that are not there any more are worth a line: a release signed with them since would be strange. */
static void on_reconcile(struct check *c, const struct record *r)
{
    const json_t *missing = json_object_get(r->detail, "missing"), *duplicate = json_object_get(r->detail, "duplicate");
    size_t bad = json_array_size(missing) + json_array_size(duplicate);

    check_findings(c, r, missing, false);
    check_findings(c, r, duplicate, true);
    if ((bad > 0) != (r->outcome == OUTCOME_ERROR))
        (void)check_fail(c, r, FINDING_INVALID, "its outcome is not that of its findings");
    if (bad)
        report_note(c->report, "record %llu: the token did not hold %zu of its keys as they were recorded", (unsigned long long)r->seq, bad);
}

static void on_start(struct check *c, const struct record *r)
{
    c->state.started = r->time;
}

/* A clean stop, counts: nothing to check beyond their members. */
static void on_nothing(struct check *c, const struct record *r)
{
    (void)c;
    (void)r;
}

enum actor_rule { ANYBODY, SYSTEM };
static const struct {
    enum actor_rule actor;
    void (*check)(struct check *c, const struct record *r);
} ROWS[EVENT_COUNT] = {
    [EVENT_LOG_GENESIS] = {SYSTEM, on_genesis},
    [EVENT_LOG_RECOVERED] = {SYSTEM, torn_check},
    [EVENT_LOG_SNAPSHOT] = {SYSTEM, on_snapshot},
    [EVENT_DAEMON_START] = {SYSTEM, on_start},
    [EVENT_DAEMON_STOP] = {SYSTEM, on_nothing},
    [EVENT_DAEMON_CHILD] = {SYSTEM, on_nothing},
    [EVENT_ANCHOR_RESET] = {SYSTEM, on_reset},
    [EVENT_ADMIN_RECOVER] = {SYSTEM, recover_check},
    [EVENT_CA_RENEW] = {SYSTEM, ca_check},
    [EVENT_SERVER_RENEW] = {SYSTEM, server_check},
    [EVENT_TOKEN_RECONCILE] = {SYSTEM, on_reconcile},
    [EVENT_KEY_CREATE] = {ANYBODY, key_check},
    [EVENT_KEY_SUSPEND] = {ANYBODY, keylife_check},
    [EVENT_KEY_RESUME] = {ANYBODY, keylife_check},
    [EVENT_KEY_RETIRE] = {ANYBODY, keylife_check},
    [EVENT_KEY_COMPROMISE] = {ANYBODY, keylife_check},
    [EVENT_KEY_DESTROY] = {ANYBODY, keylife_check},
    [EVENT_KEY_RESTORE] = {ANYBODY, keylife_check},
    [EVENT_KEY_ERASE] = {SYSTEM, erase_check},
    [EVENT_SIGN_RELEASE] = {ANYBODY, release_check},
    [EVENT_SIGN_DIGEST] = {ANYBODY, release_check},
    [EVENT_POLICY_APPLY] = {ANYBODY, on_policy},
    [EVENT_IDENTITY_CREATE] = {ANYBODY, identity_check},
    [EVENT_IDENTITY_RENEW] = {ANYBODY, renew_check},
    [EVENT_IDENTITY_DISABLE] = {ANYBODY, identity_check},
    [EVENT_IDENTITY_ENABLE] = {ANYBODY, identity_check},
    [EVENT_RELEASE_WITHDRAW] = {ANYBODY, release_check},
    [EVENT_TIME_STEP] = {SYSTEM, time_step_check},
    [EVENT_TIME_CONFIRM] = {ANYBODY, time_confirm_check},
    [EVENT_NONCE_CREATE] = {ANYBODY, on_nothing},
    [EVENT_READ_API] = {ANYBODY, on_nothing},
    [EVENT_AUTH_REFUSED] = {ANYBODY, on_nothing},
    [EVENT_REFUSAL_SUMMARY] = {SYSTEM, on_nothing},
};

/* A decision in favour rests on the policy that holds at that point. The result of a key creation may rest on that of its intent (keys.c). */
static void check_policy(struct check *c, const struct record *r)
{
    const char *policy = text_of(r->json, "policy");

    if (!*policy || r->event == EVENT_LOG_GENESIS || (r->event == EVENT_KEY_CREATE && r->outcome == OUTCOME_OK))
        return;
    if ((r->outcome == OUTCOME_OK || r->outcome == OUTCOME_INTENT) && strcmp(policy, c->state.policy))
        (void)check_lacks(c, r, "it was decided under a policy that does not hold at that point of the log");
}

void event_check(struct check *c, const struct record *r)
{
    const json_t *actor = json_object_get(r->json, "actor");

    if (!r->seq && r->event != EVENT_LOG_GENESIS)
        (void)check_fail(c, r, FINDING_INVALID, "record 0 is not log.genesis");
    if (ROWS[r->event].actor == SYSTEM && (strcmp(text_of(actor, "kind"), "system") || strcmp(text_of(actor, "method"), "internal")))
        (void)check_fail(c, r, FINDING_INVALID, "only the system itself writes such a record");
    check_policy(c, r);
    if ((r->outcome == OUTCOME_OK || r->outcome == OUTCOME_INTENT) && r->event != EVENT_POLICY_APPLY)
        decision_check(c, r);
    ROWS[r->event].check(c, r);
}
