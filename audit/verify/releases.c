/* Releases: every signature, its place in the log, and the order of versions in a channel. */
#include <stdlib.h>
#include <string.h>

#include "audit/verify/check.h"
#include "base/enc.h"
#include "base/timefmt.h"
#include "policy/version.h"

/* The statement binds a record that was durable when the request was decided. */
static void check_head(struct check *c, const struct record *r)
{
    const json_t *head = json_object_get(r->detail, "log_head");
    const char *text = text_of(head, "hash");
    uint64_t seq = count_of(head, "seq");
    const uint8_t *actual = chain_hash(c->chain, seq);
    uint8_t said[SHA256_LEN];

    if (seq >= r->seq)
        (void)check_fail(c, r, FINDING_INVALID, "log_head names no earlier record");
    else if (!actual || report_is_altered(c->report, seq))
        (void)check_lacks(c, r, "log_head names a record that is not there");
    else if (hex_decode(text, strlen(text), said, sizeof said) || memcmp(said, actual, sizeof said))
        (void)check_fail(c, r, FINDING_INVALID, "log_head was signed with another hash of that record: the log was rewritten behind it");
}

static void check_key(struct check *c, const struct record *r)
{
    const json_t *key = json_object_get(r->json, "key");
    struct key *k = state_key(&c->state, text_of(key, "name"), count_of(key, "version"));

    if (!k) {
        (void)check_lacks(c, r, "key %.64s was never created", text_of(key, "name"));
        return;
    }
    if (strcmp(k->purpose, "release") || strcmp(k->scheme, text_of(r->json, "scheme")) || strcmp(k->scheme, "statement") == (r->event == EVENT_SIGN_RELEASE))
        (void)check_fail(c, r, FINDING_INVALID, "key %.64s is not one for that scheme", k->name);
    keylife_sign_check(c, r, k);
    (void)signature_check(c, r, k);
}

/* A statement binds a SHA-256, whatever hash its signature uses. */
static void check_hash(struct check *c, const struct record *r)
{
    if (strcmp(text_of(json_object_get(r->json, "digest"), "alg"), "sha256"))
        (void)check_fail(c, r, FINDING_INVALID, "a statement binds no such digest");
}

static void check_time(struct check *c, const struct record *r)
{
    int64_t issued, bound;

    if (time_parse(text_of(r->detail, "issued"), &issued) || issued > r->time)
        (void)check_fail(c, r, FINDING_INVALID, "issued lies after the record's time");
    else if (!check_time_of(c, count_of(json_object_get(r->detail, "log_head"), "seq"), &bound) && issued < bound)
        (void)check_lacks(c, r, "issued lies before the time of the record that log_head names");
    if (strcmp(text_of(r->detail, "environment"), strcmp(c->state.mode, "dev") ? "production" : "development"))
        (void)check_fail(c, r, FINDING_INVALID, "environment does not fit the mode of this instance");
}

/* Promise of the log: versions of a channel never go down. -1: the record has no part in the channel's order. */
static int move(struct check *c, const struct record *r, struct mark *m, const char *version)
{
    struct err e = {0};
    int order;

    if (version_check(version, &e))
        return check_fail(c, r, FINDING_INVALID, "the version is no SemVer 2.0 version");
    order = m->version ? version_compare(version, m->version) : 1;
    if (order < 0)
        return check_fail(c, r, FINDING_INVALID, "the version of the channel goes down from %.64s to %.64s", m->version, version);
    if (order > 0)
        return mark_move(m, version);
    if (strcmp(version, m->version))
        return check_fail(c, r, FINDING_INVALID, "version %.64s has the same precedence as %.64s, which is another text", version, m->version);
    return m->withdrawn ? check_fail(c, r, FINDING_INVALID, "a version that was withdrawn is signed") : 0;
}

static void check_order(struct check *c, const struct record *r)
{
    const json_t *artifact = json_object_get(r->json, "artifact");
    const char *name = text_of(r->detail, "name"), *digest = text_of(json_object_get(r->json, "digest"), "hex"), *before;
    struct mark *m = state_mark(&c->state, text_of(artifact, "app"), text_of(artifact, "channel"));
    char *copy;

    if (!m || r->altered || move(c, r, m, text_of(artifact, "version")))
        return;
    before = map_get(&m->digests, name);
    if (before) {
        (void)check_fail(c, r, FINDING_INVALID, strcmp(before, digest) ? "%.64s has two digests in one version" : "%.64s is signed twice in one version", name);
        return;
    }
    copy = strdup(digest);
    if (!copy || map_put(&m->digests, name, copy))
        free(copy);
}

static void on_withdraw(struct check *c, const struct record *r)
{
    const json_t *artifact = json_object_get(r->json, "artifact");
    const char *version = text_of(artifact, "version");
    struct mark *m = state_mark(&c->state, text_of(artifact, "app"), text_of(artifact, "channel"));
    JSON_AUTO *body = request_json(c, r, "POST", "/v1/releases/withdraw");

    if (body && (strcmp(text_of(body, "app"), text_of(artifact, "app")) || strcmp(text_of(body, "channel"), text_of(artifact, "channel")) ||
                 strcmp(text_of(body, "version"), version) || strcmp(text_of(body, "reason"), text_of(r->json, "reason")) ||
                 json_object_size(body) != 4))
        (void)check_fail(c, r, FINDING_INVALID, "the signed request asks to withdraw something else");
    if (!m || !m->version || strcmp(m->version, version)) {
        (void)check_lacks(c, r, "what is withdrawn is not the newest version of its channel");
        return;
    }
    if (m->withdrawn)
        (void)check_fail(c, r, FINDING_INVALID, "that version was withdrawn already");
    m->withdrawn = true;
}

void release_check(struct check *c, const struct record *r)
{
    if (r->outcome != OUTCOME_OK)
        return;
    if (r->event == EVENT_RELEASE_WITHDRAW) {
        on_withdraw(c, r);
        return;
    }
    (void)actor_check(c, r);
    if (r->event == EVENT_SIGN_RELEASE) {
        check_head(c, r);
        check_time(c, r);
        check_hash(c, r);
    }
    check_key(c, r);
    check_order(c, r);
}
