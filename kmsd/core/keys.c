/* Keys: listed, shown, and created in three steps (intent record, generation in the token, result record). */
#include <stdlib.h>
#include <string.h>

#include "base/enc.h"
#include "kmsd/core/internal.h"

#define GENERATE_TIME (60 * TIME_SECOND_US)

struct page {
    json_t *items;
    unsigned limit;
    const char *last;
    bool more;
};

static bool add_key(void *ctx, struct key *k)
{
    struct page *p = ctx;

    if (!k->active)
        return true;
    if (json_array_size(p->items) == p->limit) {
        p->more = true;
        return false;
    }
    json_array_append_new(p->items, key_view(k));
    p->last = k->name;
    return true;
}

int keys_list(struct core *c, struct request *rq, struct err *e)
{
    char after[NAME_MAX_LEN + 1];
    struct page p = {0};

    if (query_page(rq, &p.limit, after, e) || authorise(c, rq, NULL, NULL, NULL, e))
        return -1;
    p.items = json_array();
    state_each_key(c->state, after, add_key, &p);
    reply_json(c, rq, 200, json_pack("{s:o, s:o}", "items", p.items, "next", p.more ? json_string(p.last) : json_null()));
    return 0;
}

const struct key *key_named(struct core *c, struct request *rq, struct err *e)
{
    const struct key *k;

    if (name_check(rq->param, "key", e))
        return NULL;
    rq->sign.key = rq->param; /* a refusal is recorded with it */
    if (authorise(c, rq, rq->param, NULL, NULL, e))
        return NULL;
    k = state_key(c->state, rq->param);
    if (k && k->active)
        return k;
    err_set(e, ERR_NOT_FOUND, "there is no key %s", rq->param);
    return NULL;
}

int keys_show(struct core *c, struct request *rq, struct err *e)
{
    static const char *const none[] = {NULL};
    const struct key *k;
    const char *word;
    json_t *view;

    if (query_check(rq, none, e) || !(k = key_named(c, rq, e)))
        return -1;
    view = key_view(k);
    word = reconcile_word(c, k);
    if (word)
        json_object_set_new(view, "token", json_string(word));
    reply_json(c, rq, 200, view);
    return 0;
}

static int as_pem(const struct key *k, struct buf *out, struct err *e)
{
    der_to_pem(out, "PUBLIC KEY", buf_span(&k->spki));
    return buf_ok(out) ? err_set(e, ERR_INTERNAL, "the key does not fit") : 0;
}

static int as_jwk(const struct key *k, struct buf *out, struct err *e)
{
    return spki_to_jwk(buf_span(&k->spki), out, e);
}

static int as_ssh(const struct key *k, struct buf *out, struct err *e)
{
    return spki_to_ssh(buf_span(&k->spki), out, e);
}

static const struct {
    const char *name, *content_type;
    int (*write)(const struct key *k, struct buf *out, struct err *e);
} FORMATS[] = {
    {"pem", "application/x-pem-file", as_pem},
    {"jwk", "application/jwk+json", as_jwk},
    {"jwks", "application/jwk-set+json", jwks_put},
    {"ssh", "text/plain", as_ssh},
};

int keys_public(struct core *c, struct request *rq, struct err *e)
{
    static const char *const known[] = {"format", NULL};
    char format[8] = "pem";
    BUF_AUTO out = BUF_INIT(16384);
    const struct key *k;

    if (query_check(rq, known, e) || !(k = key_named(c, rq, e)))
        return -1;
    if (query_get(rq, "format", format, sizeof format) < 0)
        format[0] = '\0';
    for (size_t n = 0; n < sizeof FORMATS / sizeof *FORMATS; n++)
        if (!strcmp(FORMATS[n].name, format)) {
            if (FORMATS[n].write(k, &out, e))
                return -1;
            reply(c, rq, &(struct reply_head){.status = 200, .content_type = FORMATS[n].content_type}, buf_span(&out));
            return 0;
        }
    return err_set(e, ERR_BAD_REQUEST, "format must be pem, jwk, jwks or ssh");
}

/* Ends an intent without a key: the name is free again, whatever the token may hold under that CKA_ID stays unused. */
static int record_failure(struct core *c, const struct actor *actor, const char *req, const struct key *k, const char *reason, struct err *e)
{
    json_t *record = record_new("key.create", "error", actor, req);

    json_object_set_new(record, "key", record_key(k->name, k->version));
    json_object_set_new(record, "intent_seq", json_integer((json_int_t)k->intent_seq));
    record_text(record, "reason", reason);
    return commit_kept(c, record, e);
}

static json_t *result_record(struct core *c, struct request *rq, const struct key *k, const struct frame *f, struct err *e)
{
    BUF_AUTO b64 = BUF_INIT(8192);
    json_t *birth = shown_birth(f->field[TAG_BIRTH], e);
    json_t *record;

    if (!birth)
        return NULL;
    b64_encode(&b64, f->field[TAG_SPKI].data, f->field[TAG_SPKI].len);
    record = record_for(c, rq, "key.create", "ok");
    json_object_set_new(record, "key", record_key(k->name, k->version));
    json_object_set_new(record, "intent_seq", json_integer((json_int_t)k->intent_seq));
    record_text(record, "scheme", k->scheme);
    record_text(record, "purpose", k->purpose);
    record_text(record, "idem", rq->idem);
    record_text(record, "body_sha256", rq->body_sha256);
    json_object_set_new(record, "detail", json_pack("{s:s, s:o, s:s, s:s}", "algorithm", k->algorithm, "birth", birth, "key_id", k->key_id, "spki_b64",
                                                    buf_str(&b64)));
    return record;
}

#define SPKI_MAX 1024 /* bytes; an RSA-4096 key has 550 */

static void on_generated(struct core *c, struct request *rq, const struct frame *result, struct err *e)
{
    const struct key *k = state_key(c->state, rq->sign.key);
    struct actor actor = request_actor(rq);
    struct err ignored = {0};

    if (result && frame_has(result, TAG_SPKI) && result->field[TAG_SPKI].len <= SPKI_MAX && spki_is(result->field[TAG_SPKI], k->algorithm) &&
        frame_has(result, TAG_BIRTH) && !commit_kept(c, result_record(c, rq, k, result, e), e)) {
        lanes_load_key(c, k);
        operation_end(c, rq, NULL);
        reply_committed(c, rq);
        return;
    }
    if (!e->code)
        err_set(e, ERR_INTERNAL, "the token lane answered without a key of that algorithm");
    operation_end(c, rq, e);
    (void)record_failure(c, &actor, rq->req, k, err_slug(e->code), &ignored);
    request_refuse(c, rq, e);
}

/* The intent is durable: now the token may make the key. */
static void generate(struct core *c, struct request *rq)
{
    const struct key *k = state_key(c->state, rq->sign.key);
    struct lane_op *op = lane_op_key(lane_op_new(CHILD_LANE_ADMIN, FRAME_GENERATE, c->clock.boot + GENERATE_TIME, 1, on_generated, rq), k, span_of(NULL, 0));

    if (!op)
        abort(); /* the orphan intent is ended at the next start */
    lane_submit(c, op);
}

static int no_scheme(const char *algorithm, const char *scheme, struct err *e)
{
    BUF_AUTO fit = BUF_INIT(512);
    const struct scheme *s;

    for (size_t n = 0; (s = scheme_at(n)); n++)
        if (!strcmp(s->algorithm, algorithm))
            buf_printf(&fit, "%s%s", fit.len ? ", " : "", s->scheme);
    if (fit.len)
        return err_set(e, ERR_BAD_REQUEST, "%s keys do not take the scheme %.32s; they take %s", algorithm, scheme, buf_str(&fit));
    return err_set(e, ERR_BAD_REQUEST, "algorithm %.32s is not one of p256, p384, rsa-2048, rsa-3072, rsa-4096, ed25519", algorithm);
}

static int parse(struct request *rq, const char **algorithm, const char **scheme, struct err *e)
{
    struct json_reader r;

    if (request_json(rq, &r, e) || json_get_str(&r, "name", 1024, &rq->sign.key, e) ||
        json_get_str(&r, "algorithm", 32, algorithm, e) || json_get_str(&r, "scheme", 32, scheme, e) || json_done(&r, e) ||
        name_check(rq->sign.key, "name", e))
        return -1;
    return scheme_find(*algorithm, *scheme) ? 0 : no_scheme(*algorithm, *scheme, e);
}

int keys_create(struct core *c, struct request *rq, struct err *e)
{
    const char *algorithm, *scheme;
    uint8_t id[KEY_ID_LEN];
    char hex[KEY_ID_HEX];
    json_t *record;
    int verdict;

    if (parse(rq, &algorithm, &scheme, e) || authorise(c, rq, rq->sign.key, NULL, NULL, e))
        return -1;
    verdict = idem_check(c, rq, e);
    if (verdict)
        return verdict < 0 ? -1 : 0;
    if (state_key(c->state, rq->sign.key))
        return err_set(e, ERR_ALREADY_EXISTS, "there is a key %s", rq->sign.key);
    if (operation_begin(c, rq, e))
        return -1;
    c->io.random(c->io.ctx, id, sizeof id);
    hex_encode(id, sizeof id, hex);
    record = record_change(c, rq, "key.create", "intent", e);
    if (record) {
        json_object_set_new(record, "key", record_key(rq->sign.key, 1));
        record_text(record, "scheme", scheme);
        record_text(record, "purpose", "release");
        json_object_set_new(record, "detail", json_pack("{s:s, s:s}", "algorithm", algorithm, "key_id", hex));
    }
    if (!record || commit(c, record, e)) {
        operation_end(c, rq, e);
        return -1;
    }
    flight_begin(c, rq);
    return after_call(c, generate, rq);
}

struct orphans {
    const struct key *key[64];
    unsigned n;
};

static bool add_orphan(void *ctx, struct key *k)
{
    struct orphans *o = ctx;

    if (!k->active && o->n < sizeof o->key / sizeof *o->key)
        o->key[o->n++] = k;
    return true;
}

/* Intents that an earlier start left without a result: never finished silently, never regenerated. */
int keys_orphans(struct core *c, struct err *e)
{
    struct orphans o;

    do {
        o.n = 0;
        state_each_key(c->state, "", add_orphan, &o);
        for (unsigned n = 0; n < o.n; n++)
            if (record_failure(c, &actor_system, "", o.key[n], "no-result-before-restart", e))
                return -1;
    } while (o.n);
    return 0;
}
