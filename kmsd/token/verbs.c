/* What a lane can be asked to do: one table for both kinds of lane. */
#include <stdlib.h>
#include <string.h>

#include "kmsd/token/anchor.h"
#include "kmsd/token/destroy.h"
#include "kmsd/token/generate.h"
#include "kmsd/token/lane.h"

static int no_memory(struct fault *f)
{
    return fault_set(f, LANE_TOKEN, "out of memory");
}

/* The key of last time is looked at first. */
static struct key *loaded(struct lane *l, struct span id)
{
    if (id.len != KEY_ID_LEN)
        return NULL;
    if (l->last_key < l->n_keys && !memcmp(l->keys[l->last_key].id, id.data, KEY_ID_LEN))
        return &l->keys[l->last_key];
    for (size_t n = 0; n < l->n_keys; n++)
        if (!memcmp(l->keys[n].id, id.data, KEY_ID_LEN)) {
            l->last_key = n;
            return &l->keys[n];
        }
    return NULL;
}

/* Where a key of this id goes: its old place or a new one. NULL = no room. */
static struct key *place(struct lane *l, struct span id)
{
    struct key *k = loaded(l, id), *grown;
    size_t cap = l->cap_keys ? l->cap_keys * 2 : 16;

    if (k) {
        key_clear(k);
        return k;
    }
    if (l->n_keys == l->cap_keys) {
        grown = cap <= LANE_KEYS_MAX ? reallocarray(l->keys, cap, sizeof *grown) : NULL;
        if (!grown)
            return NULL;
        l->keys = grown;
        l->cap_keys = cap;
    }
    return &l->keys[l->n_keys++];
}

/* The wall between the purposes: a signing lane knows release keys only, each for the one scheme it was made for, by the label no one can change. */
static int release_only(struct lane *l, const struct algorithm *a, const char *scheme, struct span id, struct fault *f)
{
    struct object o;

    if (object_find(&l->token, CKO_PRIVATE_KEY, a->type, id, &o, f))
        return -1;
    return label_is_release(o.label, scheme) ? 0 : fault_set(f, LANE_KEY, "the key is not a release key of scheme %s", scheme);
}

static int verb_load(struct lane *l, const struct frame *in, struct buf *out, struct fault *f)
{
    const struct method *m = method_find(in->field[TAG_ALGORITHM], in->field[TAG_SCHEME]);
    struct span id = in->field[TAG_KEY_ID];
    struct key k, *at;

    (void)out;
    if (!m)
        return fault_set(f, LANE_INPUT, "there is no such algorithm with that scheme");
    if (release_only(l, m->algorithm, m->name, id, f) || key_open(&l->token, m, id, in->field[TAG_SPKI], &k, f))
        return -1;
    at = loaded(l, id);
    if (at && key_uncopy(&l->token, at, f)) {
        key_clear(&k);
        return -1;
    }
    at = place(l, id);
    if (!at) {
        key_clear(&k);
        return fault_set(f, LANE_KEY, "a lane holds at most %d keys", LANE_KEYS_MAX);
    }
    *at = k;
    return 0;
}

/* Keys are looked up by their id: the last one may take the place. Nor do handles of its objects stay, which may be void soon. */
static int verb_unload(struct lane *l, const struct frame *in, struct buf *out, struct fault *f)
{
    struct key *k = loaded(l, in->field[TAG_KEY_ID]);

    (void)out;
    objects_forget(&l->token, in->field[TAG_KEY_ID]);
    if (!k)
        return 0;
    if (key_uncopy(&l->token, k, f))
        return -1;
    key_clear(k);
    *k = l->keys[--l->n_keys];
    l->keys[l->n_keys] = (struct key){0};
    return 0;
}

static bool joins(const struct lane *l, const struct key *k)
{
    return l->batch && k && k->p256;
}

#define LATER 1 /* what a verb returns whose answer comes with others */

static int verb_sign(struct lane *l, const struct frame *in, struct buf *out, struct fault *f)
{
    BUF_AUTO signature = BUF_INIT(RAW_SIGNATURE_MAX);
    struct key *k = loaded(l, in->field[TAG_KEY_ID]);

    if (!k)
        return fault_set(f, LANE_KEY, "the key is not loaded");
    if (!span_eq_str(in->field[TAG_SCHEME], k->method->name))
        return fault_set(f, LANE_INPUT, "the key does not have that scheme");
    if (joins(l, k)) {
        struct made *m = &l->waiting[l->n_waiting]; /* verb_serve left room */

        if (key_make(&l->token, k, in->field[TAG_INPUT], m, f))
            return -1;
        m->id = in->id;
        l->n_waiting++;
        return LATER;
    }
    if (key_sign(&l->token, k, in->field[TAG_INPUT], &signature, f))
        return -1;
    frame_put(out, TAG_OUTPUT, buf_span(&signature));
    return 0;
}

static int probe_token(struct token *t, void *arg, struct fault *f)
{
    (void)arg;
    return token_probe(t, f);
}

/* The key whose turn it is: a lane that has one must show a signature. NULL = it has none. */
static struct key *probe_key(struct lane *l)
{
    if (l->admin)
        return l->authority.cert ? &l->authority.key : NULL;
    return l->n_keys ? &l->keys[l->probes++ % l->n_keys] : NULL;
}

static int verb_probe(struct lane *l, const struct frame *in, struct buf *out, struct fault *f)
{
    struct key *k = probe_key(l);

    (void)in;
    (void)out;
    if (token_retry(&l->token, probe_token, NULL, f))
        return -1;
    return k ? key_probe(&l->token, k, f) : 0;
}

static int verb_generate(struct lane *l, const struct frame *in, struct buf *out, struct fault *f)
{
    const struct method *m = method_find(in->field[TAG_ALGORITHM], in->field[TAG_SCHEME]);
    BUF_AUTO spki = BUF_INIT(SPKI_MAX);
    BUF_AUTO text = BUF_INIT(16384);
    JSON_AUTO *birth = NULL;
    char label[OBJECT_LABEL_MAX];

    if (!m)
        return fault_set(f, LANE_INPUT, "there is no such algorithm with that scheme");
    if (in->field[TAG_KEY_ID].len != KEY_ID_LEN || frame_text(in, TAG_LABEL, label, sizeof label))
        return fault_set(f, LANE_INPUT, "a key id has %d bytes, a label fewer than %d", KEY_ID_LEN, OBJECT_LABEL_MAX);
    if (label_for(label, m->name, f) || generate_key(&l->token, m, in->field[TAG_KEY_ID], label, &spki, &birth, f))
        return -1;
    json_canonical(&text, birth);
    if (buf_ok(&text))
        return no_memory(f);
    frame_put(out, TAG_SPKI, buf_span(&spki));
    frame_put(out, TAG_BIRTH, buf_span(&text));
    return 0;
}

static int verb_destroy(struct lane *l, const struct frame *in, struct buf *out, struct fault *f)
{
    const struct method *m = method_find(in->field[TAG_ALGORITHM], in->field[TAG_SCHEME]);
    BUF_AUTO text = BUF_INIT(4096);
    JSON_AUTO *proof = NULL;
    char label[OBJECT_LABEL_MAX];

    if (!m)
        return fault_set(f, LANE_INPUT, "there is no such algorithm with that scheme");
    if (in->field[TAG_KEY_ID].len != KEY_ID_LEN || frame_text(in, TAG_LABEL, label, sizeof label))
        return fault_set(f, LANE_INPUT, "a key id has %d bytes, a label fewer than %d", KEY_ID_LEN, OBJECT_LABEL_MAX);
    if (label_for(label, m->name, f) || destroy_key(&l->token, m->algorithm, in->field[TAG_KEY_ID], label, in->field[TAG_SPKI], &proof, f))
        return -1;
    json_canonical(&text, proof);
    if (buf_ok(&text))
        return no_memory(f);
    frame_put(out, TAG_PROOF, buf_span(&text));
    return 0;
}

static int verb_list(struct lane *l, const struct frame *in, struct buf *out, struct fault *f)
{
    BUF_AUTO text = BUF_INIT(FRAME_MAX - 1024);
    JSON_AUTO *list = NULL;

    (void)in;
    if (objects_list(&l->token, &list, f))
        return -1;
    json_canonical(&text, list);
    if (buf_ok(&text))
        return fault_set(f, LANE_INPUT, "the list of objects does not fit a frame; use another token for more keys");
    frame_put(out, TAG_OBJECTS, buf_span(&text));
    return 0;
}

static int verb_issue(struct lane *l, const struct frame *in, struct buf *out, struct fault *f)
{
    BUF_AUTO der = BUF_INIT(CERT_DER_MAX);

    if (!l->authority.cert)
        return fault_set(f, LANE_KEY, "the certificate authority is not usable; the operational log of the lane says why");
    if (authority_issue(&l->token, &l->authority, in->field[TAG_CSR], in->field[TAG_PROFILE], &der, f))
        return -1;
    frame_put(out, TAG_CERT, buf_span(&der));
    return 0;
}

static int verb_anchor(struct lane *l, const struct frame *in, struct buf *out, struct fault *f)
{
    return anchor_verb(&l->token, in, out, f);
}

/* Which lane has the verb; whether it may simply run again after the session was healed. Verbs that sign heal inside;
 * making a key is never repeated. */
struct verb {
    enum frame_type type;
    bool sign_lane, admin_lane, again;
    int (*run)(struct lane *l, const struct frame *in, struct buf *out, struct fault *f);
};
static const struct verb verbs[] = {
    {FRAME_LOAD, true, false, true, verb_load},
    {FRAME_UNLOAD, true, false, false, verb_unload},
    {FRAME_SIGN, true, false, false, verb_sign},
    {FRAME_PROBE, true, true, false, verb_probe},
    {FRAME_GENERATE, false, true, false, verb_generate},
    {FRAME_DESTROY, false, true, true, verb_destroy},
    {FRAME_LIST, false, true, true, verb_list},
    {FRAME_ISSUE, false, true, false, verb_issue},
    {FRAME_ANCHOR, false, true, true, verb_anchor},
};

struct call {
    struct lane *lane;
    const struct verb *verb;
    const struct frame *in;
};

static int run(struct token *t, void *arg, struct fault *f)
{
    const struct call *c = arg;

    (void)t;
    if (c->lane->admin ? !c->verb->admin_lane : !c->verb->sign_lane)
        return fault_set(f, LANE_INPUT, "this lane does not have that verb");
    return c->verb->run(c->lane, c->in, &c->lane->stream.out, f);
}

static const struct verb *verb_find(uint8_t type)
{
    for (size_t n = 0; n < sizeof verbs / sizeof *verbs; n++)
        if (verbs[n].type == type)
            return &verbs[n];
    return NULL;
}

/* What waits points to keys, and no answer overtakes another nor waits for a slow one: anything but one more signature of the kind settles first. */
int verb_serve(struct lane *l, const struct frame *in)
{
    struct buf *out = &l->stream.out;
    struct call c = {.lane = l, .verb = verb_find(in->type), .in = in};
    size_t start, mark;
    struct fault f = {0};
    int how, code = 0;

    if (!c.verb)
        return -1;
    if (l->n_waiting == P256_BATCH_MAX || in->type != FRAME_SIGN || !joins(l, loaded(l, in->field[TAG_KEY_ID])))
        code = verb_settle(l);
    if (code)
        return code;
    if (in->type != FRAME_SIGN)
        ahead_drop(&l->token);
    start = out->len;
    mark = frame_begin(out, FRAME_RESULT, in->id);
    how = c.verb->again ? token_retry(&l->token, run, &c, &f) : run(&l->token, &c, &f);
    if (!how) {
        frame_end(out, mark);
        return 0;
    }
    out->len = start; /* the verbs put fields last, yet nothing of a failed one may stay */
    if (how == LATER)
        return 0;
    code = verb_settle(l);
    how = verb_failed(l, in->type, in->id, &f);
    return how ? how : code;
}
