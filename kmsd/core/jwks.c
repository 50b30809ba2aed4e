/* Public keys as JSON Web Key sets (RFC 7517): of one key, or of all that may verify something. */
#include <string.h>

#include "kmsd/core/internal.h"

#define JWKS_MAX 1000     /* keys in a set: it has no pages, and the core works on nothing else meanwhile */
#define JWK_TEXT_MAX 2048

struct set {
    json_t *keys;
    bool full;
    int failed;
    struct err *e;
};

/* kid is the keyid that envelopes name. */
static json_t *jwk_of(const struct key *k, struct err *e)
{
    BUF_AUTO text = BUF_INIT(JWK_TEXT_MAX);
    json_t *jwk = spki_to_jwk(buf_span(&k->spki), &text, e) ? NULL : json_read_object(text.data, text.len, JWK_TEXT_MAX, e);

    if (!jwk)
        return NULL;
    json_object_set_new(jwk, "kid", json_string(k->keyid));
    json_object_set_new(jwk, "use", json_string("sig"));
    return jwk;
}

/* Whoever verifies with a set trusts each of its keys: a compromised one is not among them. Those that sign no more are, for what they signed. */
static bool add(void *ctx, struct key *k)
{
    struct set *s = ctx;
    json_t *jwk;

    if (!k->active || k->compromised[0])
        return true;
    s->full = json_array_size(s->keys) == JWKS_MAX;
    jwk = s->full ? NULL : jwk_of(k, s->e);
    s->failed = !jwk;
    return jwk && !json_array_append_new(s->keys, jwk);
}

int jwks_put(const struct key *k, struct buf *out, struct err *e)
{
    json_t *jwk = jwk_of(k, e);
    JSON_AUTO *set = jwk ? json_pack("{s:[o]}", "keys", jwk) : NULL;

    if (!set)
        return -1;
    json_canonical(out, set);
    return buf_ok(out) ? err_set(e, ERR_INTERNAL, "the key does not fit") : 0;
}

int jwks_show(struct core *c, struct request *rq, struct err *e)
{
    static const char *const none[] = {NULL};
    BUF_AUTO text = BUF_INIT(FRAME_MAX);
    struct set s = {.e = e};

    if (query_check(rq, none, e) || authorise(c, rq, NULL, NULL, NULL, e))
        return -1;
    JSON_AUTO *set = json_pack("{s:o}", "keys", s.keys = json_array());

    state_each_key(c->state, "", add, &s);
    if (s.full)
        return err_set(e, ERR_TOO_LARGE, "there are more than %d keys; GET /v1/keys lists them in pages", JWKS_MAX);
    if (s.failed)
        return -1;
    json_canonical(&text, set);
    if (buf_ok(&text))
        return err_set(e, ERR_INTERNAL, "the set does not fit");
    reply(c, rq, &(struct reply_head){.status = 200, .content_type = "application/jwk-set+json"}, buf_span(&text));
    return 0;
}
