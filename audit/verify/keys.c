/* The life of keys: an intent that a person signed, then its result. */
#include <string.h>

#include "audit/verify/check.h"
#include "base/enc.h"
#include "base/x509.h"

static bool same(const json_t *a, const char *member, const json_t *b, const char *other)
{
    const char *text = json_string_value(json_object_get(a, member));

    return text && !strcmp(text, text_of(b, other));
}

static void on_intent(struct check *c, const struct record *r)
{
    const json_t *key = json_object_get(r->json, "key");
    JSON_AUTO *body = request_json(c, r, "POST", "/v1/keys");
    struct key *k = state_add_intent(&c->state, r->seq, r->json);

    if (body && (!same(body, "name", key, "name") || !same(body, "algorithm", r->detail, "algorithm") || !same(body, "scheme", r->json, "scheme") ||
                 json_object_size(body) != 3))
        (void)check_fail(c, r, FINDING_INVALID, "the signed request asks for another key");
    if (k)
        k->doubtful = r->altered;
    if (!scheme_find(text_of(r->detail, "algorithm"), text_of(r->json, "scheme")))
        (void)check_fail(c, r, FINDING_INVALID, "no key of that algorithm takes that scheme");
    if (count_of(key, "version") != 1)
        (void)check_fail(c, r, FINDING_INVALID, "a new key must have version 1");
    if (state_key(&c->state, text_of(key, "name"), count_of(key, "version")))
        (void)check_fail(c, r, FINDING_INVALID, "there is a key of that name and version already");
    if (state_take(&c->state.key_ids, text_of(r->detail, "key_id")))
        (void)check_fail(c, r, FINDING_INVALID, "its key_id stands in another record already");
}

/* The open intent that the record ends. */
static struct key *end_intent(struct check *c, const struct record *r)
{
    const json_t *key = json_object_get(r->json, "key");
    struct key *k = state_intent(&c->state, count_of(r->json, "intent_seq"));

    if (!k) {
        (void)check_lacks(c, r, "intent_seq names no intent of a key creation");
        return NULL;
    }
    if (k->ended) {
        (void)check_fail(c, r, FINDING_INVALID, "the intent has its result already");
        return NULL;
    }
    k->ended = true;
    k->doubtful |= r->altered;
    if (strcmp(k->name, text_of(key, "name")) || k->version != count_of(key, "version"))
        (void)check_fail(c, r, FINDING_INVALID, "its intent is about another key");
    return k;
}

static const char *mechanism_of(const struct key *k)
{
    const struct scheme *s = scheme_find(k->algorithm, k->scheme);

    if (!s)
        return "one of an unknown scheme";
    if (s->ecdsa)
        return "CKM_ECDSA";
    return !s->hash ? "CKM_EDDSA" : s->pkcs1 ? "CKM_RSA_PKCS" : "CKM_RSA_PKCS_PSS";
}

static void on_result(struct check *c, const struct record *r)
{
    const char *spki = text_of(r->detail, "spki_b64");
    struct key *k = end_intent(c, r);

    if (!k)
        return;
    if (strcmp(k->scheme, text_of(r->json, "scheme")) || strcmp(k->purpose, text_of(r->json, "purpose")) ||
        strcmp(k->algorithm, text_of(r->detail, "algorithm")) || strcmp(k->key_id, text_of(r->detail, "key_id")) ||
        strcmp(k->body_sha256, text_of(r->json, "body_sha256")) || strcmp(k->idem, text_of(r->json, "idem")))
        (void)check_fail(c, r, FINDING_INVALID, "the result is not what its intent was");
    if (strcmp(k->policy, text_of(r->json, "policy")) && strcmp(c->state.policy, text_of(r->json, "policy")))
        (void)check_fail(c, r, FINDING_INVALID, "policy is neither the one of the intent nor the one that holds");
    if (strcmp(k->actor, text_of(json_object_get(r->json, "actor"), "name")) ||
        (!strcmp(k->policy, text_of(r->json, "policy")) && strcmp(k->rule, text_of(r->json, "rule"))))
        (void)check_fail(c, r, FINDING_INVALID, "actor or rule is not that of the intent");
    if (b64_decode(&k->spki, spki, strlen(spki)) || !spki_is(buf_span(&k->spki), k->algorithm))
        (void)check_fail(c, r, FINDING_INVALID, "spki_b64 is no public key of that algorithm");
    if (state_take(&c->state.public_keys, spki))
        (void)check_fail(c, r, FINDING_INVALID, "its public key is that of another key in the log: a key that was stopped would sign on under this name");
    k->copyable = json_is_true(json_object_get(json_object_get(r->detail, "birth"), "copyable"));
    birth_check(c, r, k->name, json_object_get(r->detail, "birth"), mechanism_of(k), !strcmp(k->algorithm, "p256"));
    if (state_add_key(&c->state, k))
        (void)check_fail(c, r, FINDING_INVALID, "there is a key of that name and version already");
}

void key_check(struct check *c, const struct record *r)
{
    if (r->outcome == OUTCOME_INTENT)
        on_intent(c, r);
    else if (r->outcome == OUTCOME_OK)
        on_result(c, r);
    else if (json_object_get(r->json, "intent_seq"))
        (void)end_intent(c, r);
}
