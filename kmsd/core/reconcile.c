/* Compares what the token holds with what the log says it should: after every start of the administrative lane, and when a key is missed. */
#include <string.h>

#include "audit/state/keylife.h"
#include "kmsd/core/internal.h"

#define LIST_TIME (60 * TIME_SECOND_US)
#define OBJECTS_MAX 16384
#define FINDINGS_MAX 64    /* of a kind in one record: a line has its limit; the others are counted */
#define LABEL_OWN "kmsd:"
#define LABEL_RELEASE "kmsd:release:"

/* One comparison. An object that is nobody's is either one that a key creation left behind (it has the label of a release key) or a foreign one;
 * neither is ever loaded or removed. */
struct comparison {
    struct core *c;
    json_t *private, *public;      /* CKA_ID → how many */
    json_t *ids;                   /* those of the log's keys, made or being made */
    json_t *missing, *duplicate, *quarantined, *foreign;
    json_t *words;                 /* name → "missing" or "duplicate" */
    json_int_t others;
};

static void comparison_clear(struct comparison *m)
{
    json_t *const all[] = {m->private, m->public, m->ids, m->missing, m->duplicate, m->quarantined, m->foreign, m->words};

    for (size_t n = 0; n < sizeof all / sizeof *all; n++)
        json_decref(all[n]);
}

static json_int_t count(const json_t *counts, const char *id)
{
    return json_integer_value(json_object_get(counts, id));
}

static void add(struct comparison *m, json_t *list, json_t *finding)
{
    if (json_array_size(list) < FINDINGS_MAX) {
        json_array_append_new(list, finding);
    } else {
        json_decref(finding);
        m->others++;
    }
}

static bool know_id(void *ctx, struct key *k)
{
    struct comparison *m = ctx;

    if (k->state != KEY_DESTROYED) /* what turns up again under a destroyed key's id is worth a line */
        json_object_set_new(m->ids, k->key_id, json_true());
    return true;
}

/* Some token makers give their objects long ids. */
static int take_object(struct comparison *m, const json_t *object, struct err *e)
{
    const char *class, *id, *label, *type;
    struct json_reader r;
    json_t *counts;

    if (json_begin(&r, object, "objects", e) || json_get_str(&r, "class", 24, &class, e) || json_get_str(&r, "id", 128, &id, e) ||
        json_get_str(&r, "label", 256, &label, e) || json_get_str(&r, "type", 24, &type, e) || json_done(&r, e))
        return -1;
    counts = !strcmp(class, "private-key") ? m->private : !strcmp(class, "public-key") ? m->public : NULL;
    if (counts && json_object_get(m->ids, id))
        json_object_set_new(counts, id, json_integer(count(counts, id) + 1));
    else if (!strncmp(label, LABEL_RELEASE, strlen(LABEL_RELEASE)))
        add(m, m->quarantined, json_pack("{s:s, s:s}", "class", class, "id", id));
    else if (strncmp(label, LABEL_OWN, strlen(LABEL_OWN)))
        add(m, m->foreign, json_pack("{s:s, s:s}", "class", class, "id", id));
    return 0;
}

static bool judge_key(void *ctx, struct key *k)
{
    struct comparison *m = ctx;
    json_int_t private = count(m->private, k->key_id), public = count(m->public, k->key_id);
    bool twice = private > 1 || public > 1;

    if (!key_on_token(k) || (private == 1 && public == 1))
        return true;
    json_object_set_new(m->words, k->name, json_string(twice ? "duplicate" : "missing"));
    add(m, twice ? m->duplicate : m->missing,
        json_pack("{s:s, s:s, s:I, s:I, s:I}", "key_id", k->key_id, "name", k->name, "private", private, "public", public, "version", (json_int_t)k->version));
    return true;
}

/* The lane answers with an array; the strict reader takes objects. */
static json_t *read_objects(struct span text, const json_t **list, struct err *e)
{
    BUF_AUTO whole = BUF_INIT(FRAME_MAX + 64);
    struct json_reader r;
    json_t *object;

    buf_puts(&whole, "{\"objects\":");
    buf_put(&whole, text.data, text.len);
    buf_puts(&whole, "}");
    object = json_read_object(whole.data, whole.len, FRAME_MAX + 64, e);
    if (object && !json_begin(&r, object, "", e) && !json_get_array(&r, "objects", OBJECTS_MAX, list, e) && !json_done(&r, e))
        return object;
    json_decref(object);
    return NULL;
}

static int compare(struct comparison *m, struct span text, struct err *e)
{
    const json_t *list = NULL;
    JSON_AUTO *owner = read_objects(text, &list, e);

    if (!owner)
        return -1;
    state_each_key(m->c->state, "", know_id, m);
    for (size_t n = 0; n < json_array_size(list); n++)
        if (take_object(m, json_array_get(list, n), e))
            return -1;
    state_each_key(m->c->state, "", judge_key, m);
    return 0;
}

/* Keys that were not as recorded before and are now: lanes that started meanwhile do not have them. */
static bool load_found(void *ctx, struct key *k)
{
    struct comparison *m = ctx;

    if (key_signs(k) && json_object_get(m->c->token_keys, k->name) && !json_object_get(m->words, k->name))
        lanes_load_key(m->c, k);
    return true;
}

/* A record where the findings are others than those of the last one. A log without any stands for: nothing was found. */
static int record_findings(struct comparison *m, struct err *e)
{
    bool bad = json_object_size(m->words) > 0;
    json_t *record;
    char hash[SHA256_HEX];
    JSON_AUTO *detail = json_pack("{s:O, s:O, s:O, s:I, s:O}", "duplicate", m->duplicate, "foreign", m->foreign, "missing", m->missing, "others", m->others,
                                  "quarantined", m->quarantined);

    if (reconcile_hash(detail, hash, e))
        return -1;
    if (!strcmp(hash, m->c->state->reconcile_sha256) || m->c->stop_written)
        return 0;
    record = record_new("token.reconcile", bad ? "error" : "ok", &actor_system, "");
    json_object_set(record, "detail", detail);
    m->c->io.note(m->c->io.ctx, bad ? CORE_NOTE_ALARM : CORE_NOTE_WARNING, "token.reconcile",
                  bad ? "the token does not hold every key as it was recorded" : "what the token holds beside its keys has changed");
    return commit(m->c, record, e);
}

static void on_listed(struct core *c, struct request *rq, const struct frame *result, struct err *e)
{
    struct comparison m = {.c = c, .private = json_object(), .public = json_object(), .ids = json_object(), .missing = json_array(), .duplicate = json_array(),
                           .quarantined = json_array(), .foreign = json_array(), .words = json_object()};
    bool done = false;

    (void)rq;
    c->listing = false;
    if (result && frame_has(result, TAG_OBJECTS)) {
        done = !compare(&m, result->field[TAG_OBJECTS], e);
        if (done) {
            state_each_key(c->state, "", load_found, &m);
            json_decref(c->token_keys);
            c->token_keys = json_incref(m.words);
            done = !record_findings(&m, e);
        }
    }
    if (!done)
        c->io.note(c->io.ctx, CORE_NOTE_WARNING, "token.reconcile", e->code ? e->detail : "the lane answered without a list");
    comparison_clear(&m);
}

void reconcile_start(struct core *c)
{
    struct lane_op *op = c->listing ? NULL : lane_op_new(CHILD_LANE_ADMIN, FRAME_LIST, c->clock.boot + LIST_TIME, 1, on_listed, NULL);

    if (!op)
        return;
    c->listing = true;
    frame_end(&op->frame, frame_begin(&op->frame, FRAME_LIST, 0));
    lane_submit(c, op);
}

const char *reconcile_word(const struct core *c, const struct key *k)
{
    const char *word = json_string_value(json_object_get(c->token_keys, k->name));

    return !c->token_keys || !key_on_token(k) ? NULL : word ? word : "present";
}

bool reconcile_all_lost(const struct core *c)
{
    return c->state->n_keys && json_object_size(c->token_keys) >= c->state->n_keys;
}

int reconcile_check(struct core *c, const struct key *k, struct err *e)
{
    const char *word = reconcile_word(c, k);

    if (!word || !strcmp(word, "present"))
        return 0;
    reconcile_start(c);
    return err_set(e, ERR_TOKEN_UNAVAILABLE, "the token does not hold key %s as it was recorded (%s); an operator must put it right", k->name, word);
}
