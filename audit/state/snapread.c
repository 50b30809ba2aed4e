/* Reads a snapshot back into a state. */
#include <stdlib.h>
#include <string.h>

#include "audit/state/internal.h"
#include "audit/state/keylife.h"
#include "audit/state/snapshot.h"
#include "audit/state/tree.h"
#include "base/enc.h"
#include "base/num.h"
#include "base/timefmt.h"

struct reading {
    struct state *s;
    const struct blob_source *blobs;
    struct span rest;
    uint64_t lines;
    bool ended;
};

/* The next line, parsed; caller owns. NULL with e filled at the end or when it is none. */
static json_t *next(struct reading *r, struct span *line, struct err *e)
{
    size_t most = r->rest.len <= RECORD_LINE_MAX ? r->rest.len : RECORD_LINE_MAX + 1;
    const uint8_t *lf = most ? memchr(r->rest.data, '\n', most) : NULL;

    if (!lf || json_is_canonical(r->rest.data, (size_t)(lf - r->rest.data))) {
        err_set(e, ERR_INTERNAL, lf ? "it is not canonical JSON" : "it ends in the middle or has a line that is too long");
        return NULL;
    }
    *line = span_of(r->rest.data, (size_t)(lf - r->rest.data));
    r->rest = span_of(lf + 1, r->rest.len - line->len - 1);
    r->lines++;
    return json_read_object(line->data, line->len, RECORD_LINE_MAX, e);
}

/* A text of less than size bytes, copied. */
static int take(struct json_reader *j, const char *member, char *out, size_t size, struct err *e)
{
    const char *text;

    if (json_get_str(j, member, size - 1, &text, e))
        return -1;
    memcpy(out, text, strlen(text) + 1);
    return 0;
}

static int take_count(struct json_reader *j, const char *member, uint64_t *out, struct err *e)
{
    int64_t n;

    if (json_get_int(j, member, 0, JSON_INT_MAX, &n, e))
        return -1;
    *out = (uint64_t)n;
    return 0;
}

static int take_b64(struct json_reader *j, const char *member, struct buf *out, struct err *e)
{
    const char *text;

    if (json_get_str(j, member, RECORD_LINE_MAX, &text, e))
        return -1;
    return b64_decode(out, text, strlen(text)) ? err_set(e, ERR_BAD_REQUEST, "%s is no base64", member) : 0;
}

static int take_bool(struct json_reader *j, const char *member, bool *out, struct err *e)
{
    if (!json_is_boolean(json_object_get(j->object, member)))
        return err_set(e, ERR_BAD_REQUEST, "%s is missing or no boolean", member);
    return json_opt_bool(j, member, false, out, e);
}

/* `kind` was read by the caller. */
static int begin(struct json_reader *j, const json_t *object, struct err *e)
{
    const char *kind;

    return json_begin(j, object, "", e) || json_get_str(j, "kind", 16, &kind, e) ? -1 : 0;
}

static int on_head(struct reading *r, const json_t *object, struct err *e)
{
    struct state *s = r->s;
    struct json_reader j;
    int64_t format;
    char time[TIME_TEXT];

    if (begin(&j, object, e) || json_get_int(&j, "format", SNAPSHOT_FORMAT, SNAPSHOT_FORMAT, &format, e) || take(&j, "hash", s->head, sizeof s->head, e) ||
        take(&j, "instance", s->instance, sizeof s->instance, e) || take_count(&j, "previous", &s->snapshot_seq, e) ||
        take_count(&j, "seq", &s->chain.next_seq, e) || take(&j, "time", time, sizeof time, e) || json_done(&j, e))
        return -1;
    if (r->lines != 1 || !s->chain.next_seq || strlen(s->head) != SHA256_HEX - 1 || time_parse(time, &s->chain.time))
        return err_set(e, ERR_BAD_REQUEST, "the first line does not fit its form");
    memcpy(s->chain.prev, s->head, SHA256_HEX);
    return 0;
}

static int on_genesis(struct reading *r, const json_t *object, struct err *e)
{
    struct state *s = r->s;
    struct json_reader j;

    s->genesis = true;
    return begin(&j, object, e) || take_b64(&j, "ca_cert_b64", &s->ca_cert, e) || take_b64(&j, "ca_spki_b64", &s->ca_spki, e) ||
                   take(&j, "mode", s->mode, sizeof s->mode, e) || take(&j, "origin", s->origin, sizeof s->origin, e)
               ? -1
               : json_done(&j, e);
}

static int on_ca(struct reading *r, const json_t *object, struct err *e)
{
    struct json_reader j;

    return begin(&j, object, e) || take_b64(&j, "spki_b64", &r->s->ca_before, e) ? -1 : json_done(&j, e);
}

static int on_server(struct reading *r, const json_t *object, struct err *e)
{
    struct json_reader j;

    return begin(&j, object, e) || take(&j, "sha256", r->s->server_sha256, sizeof r->s->server_sha256, e) ? -1 : json_done(&j, e);
}

static int on_policy(struct reading *r, const json_t *object, struct err *e)
{
    struct json_reader j;
    char hash[SHA256_HEX], time[TIME_TEXT];
    uint64_t seq;

    if (begin(&j, object, e) || take_count(&j, "seq", &seq, e) || take(&j, "sha256", hash, sizeof hash, e) || take(&j, "time", time, sizeof time, e) ||
        json_done(&j, e))
        return -1;
    return state_set_policy(r->s, r->blobs, hash, seq, time, e);
}

static int on_reset(struct reading *r, const json_t *object, struct err *e)
{
    struct reset *to = &r->s->reset;
    struct json_reader j;

    return begin(&j, object, e) || take_count(&j, "counter", &to->counter, e) || take_bool(&j, "old", &to->old, e) ||
                   take_count(&j, "old_seq", &to->old_seq, e) || take_count(&j, "seq", &to->seq, e) || take_bool(&j, "token", &to->token, e) ||
                   take(&j, "token_hash", to->token_hash, sizeof to->token_hash, e) || take_count(&j, "token_seq", &to->token_seq, e)
               ? -1
               : json_done(&j, e);
}

static int on_token(struct reading *r, const json_t *object, struct err *e)
{
    struct json_reader j;

    return begin(&j, object, e) || take(&j, "sha256", r->s->reconcile_sha256, sizeof r->s->reconcile_sha256, e) ? -1 : json_done(&j, e);
}

static int on_clock(struct reading *r, const json_t *object, struct err *e)
{
    struct json_reader j;

    if (begin(&j, object, e) || take_count(&j, "step", &r->s->time_step, e) || json_done(&j, e))
        return -1;
    if (!r->s->time_step || r->s->time_step >= r->s->chain.next_seq)
        return err_set(e, ERR_BAD_REQUEST, "the step of the clock is no record that it covers");
    r->s->time_frozen = true;
    return 0;
}

static int on_identity(struct reading *r, const json_t *object, struct err *e)
{
    struct json_reader j;
    const json_t *form;
    char created[TIME_TEXT];
    bool enabled, founder;

    if (begin(&j, object, e) || take(&j, "created", created, sizeof created, e) || take_bool(&j, "enabled", &enabled, e) ||
        take_bool(&j, "founder", &founder, e) || json_get_object(&j, "identity", &form, e) || json_done(&j, e) ||
        fold_add_identity(r->s, form, created, founder, e))
        return -1;
    state_identity(r->s, rec_str(form, "name"))->enabled = enabled;
    return 0;
}

static int take_state(struct json_reader *j, const char *member, enum key_state *out, struct err *e)
{
    const char *text;

    if (json_get_str(j, member, 16, &text, e))
        return -1;
    return key_state_parse(text, out) ? err_set(e, ERR_BAD_REQUEST, "%s is no state of a key", member) : 0;
}

static int take_key(const json_t *object, struct key *k, struct err *e)
{
    struct json_reader j;

    return begin(&j, object, e) || take_bool(&j, "active", &k->active, e) || take(&j, "algorithm", k->algorithm, sizeof k->algorithm, e) ||
                   take_state(&j, "before", &k->before, e) || take(&j, "compromised", k->compromised, sizeof k->compromised, e) ||
                   take(&j, "created", k->created, sizeof k->created, e) || take(&j, "due", k->due, sizeof k->due, e) ||
                   take_count(&j, "erase_seq", &k->erase_seq, e) || take_count(&j, "intent_seq", &k->intent_seq, e) ||
                   take(&j, "key_id", k->key_id, sizeof k->key_id, e) || take(&j, "name", k->name, sizeof k->name, e) ||
                   take(&j, "purpose", k->purpose, sizeof k->purpose, e) || take(&j, "scheme", k->scheme, sizeof k->scheme, e) ||
                   take(&j, "since", k->since, sizeof k->since, e) || take_b64(&j, "spki_b64", &k->spki, e) ||
                   take_state(&j, "state", &k->state, e) || take_count(&j, "version", &k->version, e)
               ? -1
               : json_done(&j, e);
}

static int on_key(struct reading *r, const json_t *object, struct err *e)
{
    struct key *k = calloc(1, sizeof *k);

    if (!k)
        return err_set(e, ERR_INTERNAL, "out of memory");
    k->spki = BUF_INIT(4096);
    if (!take_key(object, k, e) && !state_key(r->s, k->name) && !tree_add(&r->s->keys, k)) {
        if (k->active)
            sha256_hex(k->spki.data, k->spki.len, k->keyid);
        r->s->n_keys += key_on_token(k);
        return 0;
    }
    buf_free(&k->spki);
    free(k);
    return e->code ? -1 : err_set(e, ERR_BAD_REQUEST, "a key stands there twice");
}

static bool covered(const struct reading *r, const json_t *record)
{
    uint64_t seq;

    return !rec_seq(record, &seq) && seq < r->s->chain.next_seq;
}

/* The record of a release of that mark. */
static int read_release(struct reading *r, struct mark *m, struct err *e)
{
    struct span line;
    JSON_AUTO *record = next(r, &line, e);
    struct facts is;

    if (!record)
        return -1;
    facts_of_record(record, &is);
    if ((strcmp(is.event, "sign.release") && strcmp(is.event, "sign.digest")) || !covered(r, record) || state_mark(r->s, is.app, is.channel) != m ||
        strcmp(is.version, m->version))
        return err_set(e, ERR_BAD_REQUEST, "the record is none of that channel's newest version");
    return release_take(m, &is, line, e);
}

static int on_mark(struct reading *r, const json_t *object, struct err *e)
{
    struct json_reader j;
    struct mark *m;
    const char *app, *channel, *version;
    uint64_t n;
    bool withdrawn;

    if (begin(&j, object, e) || json_get_str(&j, "app", APP_MAX_LEN, &app, e) || json_get_str(&j, "channel", NAME_MAX_LEN, &channel, e) ||
        take_count(&j, "releases", &n, e) || json_get_str(&j, "version", VERSION_MAX, &version, e) || take_bool(&j, "withdrawn", &withdrawn, e) ||
        json_done(&j, e) || version_check(version, e))
        return -1;
    if (strchr(app, '\n') || state_mark(r->s, app, channel) || !(m = mark_make(r->s, app, channel)))
        return err_set(e, ERR_BAD_REQUEST, "a channel stands there twice");
    memcpy(m->version, version, strlen(version) + 1);
    m->withdrawn = withdrawn;
    for (; n; n--)
        if (read_release(r, m, e))
            return -1;
    return 0;
}

static int read_stored(struct reading *r, struct err *e)
{
    struct span line;
    JSON_AUTO *record = next(r, &line, e);
    struct facts is;
    bool taken;

    if (!record)
        return -1;
    facts_of_record(record, &is);
    if (!*is.idem || !covered(r, record) || (r->s->stored_last && is.seq <= r->s->stored_last->seq))
        return err_set(e, ERR_BAD_REQUEST, "the record has no Idempotency-Key, or does not come next");
    if (stored_take(r->s, &is, line, &taken, e))
        return -1;
    return taken ? 0 : err_set(e, ERR_BAD_REQUEST, "the answer stands there twice or is one too many");
}

static int on_stored(struct reading *r, const json_t *object, struct err *e)
{
    struct json_reader j;
    uint64_t n;

    if (begin(&j, object, e) || take_count(&j, "records", &n, e) || json_done(&j, e))
        return -1;
    for (; n; n--)
        if (read_stored(r, e))
            return -1;
    return 0;
}

static int on_end(struct reading *r, const json_t *object, struct err *e)
{
    struct json_reader j;
    uint64_t lines;

    if (begin(&j, object, e) || take_count(&j, "lines", &lines, e) || json_done(&j, e))
        return -1;
    r->ended = true;
    return lines == r->lines - 1 ? 0 : err_set(e, ERR_BAD_REQUEST, "the number of lines is another");
}

static int read_part(struct reading *r, struct err *e)
{
    static const struct {
        const char *kind;
        int (*read)(struct reading *r, const json_t *object, struct err *e);
    } kinds[] = {{"snapshot", on_head}, {"genesis", on_genesis}, {"ca", on_ca}, {"server", on_server}, {"policy", on_policy}, {"reset", on_reset},
                 {"token", on_token}, {"clock", on_clock}, {"identity", on_identity}, {"key", on_key}, {"mark", on_mark}, {"stored", on_stored}, {"end", on_end}};
    struct span line;
    JSON_AUTO *object = next(r, &line, e);
    const char *kind = rec_str(object, "kind");

    if (!object)
        return -1;
    for (size_t n = 0; n < sizeof kinds / sizeof *kinds; n++)
        if (!strcmp(kind, kinds[n].kind) && (n == 0) == (r->lines == 1))
            return kinds[n].read(r, object, e);
    return err_set(e, ERR_BAD_REQUEST, "a line has no known kind");
}

/* The state written again must give the same bytes: this refuses parts that are missing, double, in another order or differently spelt. */
static int same_again(const struct state *s, struct span text, struct err *e)
{
    BUF_AUTO again = BUF_INIT(text.len + RECORD_LINE_MAX);

    if (snapshot_write(s, &again, e))
        return -1;
    return span_eq(buf_span(&again), text) ? 0 : err_set(e, ERR_BAD_REQUEST, "it is not what is written of its state");
}

struct state *snapshot_read(struct span text, const struct blob_source *blobs, struct err *e)
{
    struct reading r = {.s = state_new(), .blobs = blobs, .rest = text};
    int failed;

    e->code = ERR_NONE;
    failed = r.s ? 0 : err_set(e, ERR_INTERNAL, "out of memory");

    while (!failed && !r.ended)
        if ((failed = read_part(&r, e)) != 0)
            err_context(e, "line %llu of the snapshot", (unsigned long long)r.lines);
    if (!failed && !same_again(r.s, text, e))
        return r.s;
    state_free(r.s);
    return NULL;
}
