/* Applies one record to the state: a table of events, each with the function that knows its detail. */
#include <stdlib.h>
#include <string.h>

#include "audit/state/internal.h"
#include "audit/state/snapshot.h"
#include "audit/state/tree.h"
#include "base/enc.h"
#include "base/timefmt.h"

static int copy(char *out, size_t size, const char *text, const char *what, struct err *e)
{
    size_t n = strlen(text);

    if (n >= size)
        return err_set(e, ERR_INTERNAL, "%s of a record is too long", what);
    memcpy(out, text, n + 1);
    return 0;
}

static int take_b64(struct buf *out, const json_t *object, const char *member, struct err *e)
{
    const char *text = rec_str(object, member);

    return b64_decode(out, text, strlen(text)) ? err_set(e, ERR_INTERNAL, "%s of a record is no base64", member) : 0;
}

int fold_add_credential(struct state *s, struct identity *i, const struct credential *c, struct err *e)
{
    struct credential_ref *ref = calloc(1, sizeof *ref);
    BUF_AUTO id = BUF_INIT(CREDENTIAL_ID_MAX - 1);

    if (c->kind == CREDENTIAL_CERTIFICATE)
        buf_printf(&id, "c:%s", c->cert_sha256);
    else
        buf_printf(&id, "s:%s:%s:%s", c->ca_spki_sha256, c->kind == CREDENTIAL_SPIFFE ? "spiffe" : "dns", c->value);
    if (!ref || buf_ok(&id)) {
        free(ref);
        return err_set(e, ERR_INTERNAL, "out of memory");
    }
    memcpy(ref->id, id.data, id.len + 1);
    ref->identity = i;
    if (!tree_find(&s->credentials, ref->id) && !tree_add(&s->credentials, ref))
        return 0;
    free(ref);
    return err_set(e, ERR_INTERNAL, "a credential of %s belongs to another identity", i->name);
}

int fold_add_identity(struct state *s, const json_t *j, const char *created, bool founder, struct err *e)
{
    struct identity *i = calloc(1, sizeof *i);

    if (!i)
        return err_set(e, ERR_INTERNAL, "out of memory");
    if (identity_from_json(j, i, e) || copy(i->created, sizeof i->created, created, "time", e) || state_identity(s, i->name) ||
        tree_add(&s->identities, i)) {
        identity_clear(i);
        free(i);
        return e->code ? -1 : err_set(e, ERR_INTERNAL, "an identity is created twice");
    }
    i->founder = founder;
    s->n_identities++;
    for (unsigned n = 0; n < i->n_credentials; n++)
        if (fold_add_credential(s, i, &i->credential[n], e))
            return -1;
    return 0;
}

int state_set_policy(struct state *s, const struct blob_source *blobs, const char *sha256, uint64_t seq, const char *time, struct err *e)
{
    struct policy *p;
    char actual[SHA256_HEX];

    buf_clear(&s->policy_text);
    if (blobs->read(blobs->ctx, sha256, &s->policy_text, e))
        return err_context(e, "policy of record %llu", (unsigned long long)seq);
    sha256_hex(s->policy_text.data, s->policy_text.len, actual);
    if (strcmp(actual, sha256))
        return err_set(e, ERR_INTERNAL, "blob %s was altered: its SHA-256 is %s", sha256, actual);
    p = policy_load("policy", buf_span(&s->policy_text), e);
    if (!p)
        return -1;
    policy_free(s->policy);
    s->policy = p;
    s->policy_seq = seq;
    memcpy(s->policy_sha256, actual, sizeof actual);
    return copy(s->policy_time, sizeof s->policy_time, time, "time", e);
}

static int set_policy(struct fold *f, const char *sha256, struct err *e)
{
    return state_set_policy(f->s, f->blobs, sha256, f->s->chain.next_seq - 1, rec_str(f->record, "time"), e);
}

static int on_genesis(struct fold *f, struct err *e)
{
    struct state *s = f->s;
    const json_t *identities = rec_obj(f->detail, "identities"), *ca = rec_obj(f->detail, "ca");

    if (s->genesis || s->chain.next_seq != 1)
        return err_set(e, ERR_INTERNAL, "log.genesis stands elsewhere than in record 0");
    if (rec_int(f->detail, "format") != 1)
        return err_set(e, ERR_INTERNAL, "the log has a format version that this program does not know");
    s->genesis = true;
    if (copy(s->instance, sizeof s->instance, rec_str(f->detail, "instance"), "instance", e) ||
        copy(s->origin, sizeof s->origin, rec_str(f->detail, "origin"), "origin", e) ||
        copy(s->mode, sizeof s->mode, rec_str(f->detail, "mode"), "mode", e) || take_b64(&s->ca_spki, ca, "spki_b64", e) ||
        take_b64(&s->ca_cert, ca, "cert_b64", e))
        return -1;
    for (size_t n = 0; n < json_array_size(identities); n++)
        if (fold_add_identity(s, json_array_get(identities, n), rec_str(f->record, "time"), true, e))
            return -1;
    return set_policy(f, rec_str(f->record, "policy"), e);
}

static int on_policy(struct fold *f, struct err *e)
{
    return set_policy(f, rec_str(f->detail, "sha256"), e);
}

static int on_identity_create(struct fold *f, struct err *e)
{
    return fold_add_identity(f->s, rec_obj(f->detail, "identity"), rec_str(f->record, "time"), false, e);
}

/* One CA before the newest stays good, no third. */
static int on_ca_renew(struct fold *f, struct err *e)
{
    struct state *s = f->s;
    const json_t *ca = rec_obj(f->detail, "ca");

    buf_clear(&s->ca_before);
    buf_put(&s->ca_before, s->ca_spki.data, s->ca_spki.len);
    buf_clear(&s->ca_spki);
    buf_clear(&s->ca_cert);
    return take_b64(&s->ca_spki, ca, "spki_b64", e) || take_b64(&s->ca_cert, ca, "cert_b64", e) ? -1 : 0;
}

static int on_server_renew(struct fold *f, struct err *e)
{
    BUF_AUTO der = BUF_INIT(RECORD_LINE_MAX);

    if (take_b64(&der, f->detail, "certificate_b64", e))
        return -1;
    sha256_hex(der.data ? der.data : (const uint8_t *)"", der.len, f->s->server_sha256);
    return 0;
}

/* One with the rights of the first, and a policy that lets him use them where it did not. */
static int on_recover(struct fold *f, struct err *e)
{
    const char *policy = rec_str(f->detail, "policy_sha256");

    return fold_add_identity(f->s, rec_obj(f->detail, "identity"), rec_str(f->record, "time"), true, e) || (*policy && set_policy(f, policy, e)) ? -1 : 0;
}

static int on_identity_switch(struct fold *f, struct err *e)
{
    struct identity *i = state_identity(f->s, rec_str(f->detail, "name"));

    if (!i)
        return err_set(e, ERR_INTERNAL, "a record names an identity that does not exist");
    i->enabled = !strcmp(rec_str(f->record, "event"), "identity.enable");
    return 0;
}

static int on_key_intent(struct fold *f, struct err *e)
{
    struct key *k = calloc(1, sizeof *k);
    const json_t *key = rec_obj(f->record, "key");

    if (!k)
        return err_set(e, ERR_INTERNAL, "out of memory");
    k->spki = BUF_INIT(4096);
    k->version = rec_int(key, "version");
    k->intent_seq = f->s->chain.next_seq - 1;
    if (copy(k->name, sizeof k->name, rec_str(key, "name"), "key", e) ||
        copy(k->algorithm, sizeof k->algorithm, rec_str(f->detail, "algorithm"), "algorithm", e) ||
        copy(k->scheme, sizeof k->scheme, rec_str(f->record, "scheme"), "scheme", e) ||
        copy(k->purpose, sizeof k->purpose, rec_str(f->record, "purpose"), "purpose", e) ||
        copy(k->key_id, sizeof k->key_id, rec_str(f->detail, "key_id"), "key_id", e) || state_key(f->s, k->name) || tree_add(&f->s->keys, k)) {
        free(k);
        return e->code ? -1 : err_set(e, ERR_INTERNAL, "a key is created twice");
    }
    return 0;
}

static struct key *pending_key(struct fold *f, struct err *e)
{
    struct key *k = state_key(f->s, rec_str(rec_obj(f->record, "key"), "name"));

    if (k && !k->active && k->intent_seq == rec_int(f->record, "intent_seq"))
        return k;
    err_set(e, ERR_INTERNAL, "the result of a key creation has no intent");
    return NULL;
}

static int on_key_result(struct fold *f, struct err *e)
{
    struct key *k = pending_key(f, e);

    if (!k || take_b64(&k->spki, f->detail, "spki_b64", e) || copy(k->created, sizeof k->created, rec_str(f->record, "time"), "time", e))
        return -1;
    sha256_hex(k->spki.data, k->spki.len, k->keyid);
    memcpy(k->since, k->created, sizeof k->since);
    k->active = true;
    f->s->n_keys++;
    return 0;
}

static int on_key_error(struct fold *f, struct err *e)
{
    struct key *k = pending_key(f, e);

    if (!k)
        return -1;
    tree_remove(&f->s->keys, k);
    buf_free(&k->spki);
    free(k);
    return 0;
}

static int on_reset(struct fold *f, struct err *e)
{
    const json_t *old = rec_obj(f->detail, "old"), *token = rec_obj(f->detail, "token");
    struct reset *r = &f->s->reset;

    *r = (struct reset){.seq = rec_int(f->record, "seq"), .counter = rec_int(f->detail, "counter"), .old = old != NULL, .old_seq = rec_int(old, "seq"),
                        .token = token != NULL, .token_seq = rec_int(token, "seq")};
    return copy(r->token_hash, sizeof r->token_hash, rec_str(token, "hash"), "hash", e);
}

static int on_snapshot(struct fold *f, struct err *e)
{
    struct snapshot_ref ref;

    if (snapshot_ref_of(f->record, &ref, e))
        return -1;
    if (ref.seq <= f->s->snapshot_seq)
        return err_set(e, ERR_INTERNAL, "the snapshot is not newer than the one named before");
    f->s->snapshot_seq = ref.seq;
    return 0;
}

int reconcile_hash(const json_t *detail, char out[static SHA256_HEX], struct err *e)
{
    static const char *const lists[] = {"duplicate", "foreign", "missing", "quarantined"};
    BUF_AUTO text = BUF_INIT(RECORD_LINE_MAX);
    size_t found = 0;

    json_canonical(&text, detail);
    if (buf_ok(&text))
        return err_set(e, ERR_INTERNAL, "the findings do not fit a record");
    for (size_t n = 0; n < sizeof lists / sizeof *lists; n++)
        found += json_array_size(rec_obj(detail, lists[n]));
    out[0] = '\0';
    if (found)
        sha256_hex(text.data, text.len, out);
    return 0;
}

static int on_reconcile(struct fold *f, struct err *e)
{
    return reconcile_hash(f->detail, f->s->reconcile_sha256, e);
}

static int on_time_step(struct fold *f, struct err *e)
{
    (void)e;
    f->s->time_frozen = true;
    f->s->time_step = rec_int(f->record, "seq");
    return 0;
}

static int on_time_confirm(struct fold *f, struct err *e)
{
    if (!f->s->time_frozen || rec_int(f->detail, "seq") != f->s->time_step)
        return err_set(e, ERR_INTERNAL, "what is confirmed is not the newest step of the clock, or was confirmed before");
    f->s->time_frozen = false;
    f->s->time_step = 0;
    return 0;
}

/* Records that change no state have no row here. */
static const struct {
    const char *event, *outcome;
    int (*apply)(struct fold *f, struct err *e);
} EVENTS[] = {
    {"sign.release", "ok", fold_sign},
    {"sign.digest", "ok", fold_sign},
    {"log.genesis", "ok", on_genesis},
    {"anchor.reset", "ok", on_reset},
    {"log.snapshot", "ok", on_snapshot},
    {"token.reconcile", "ok", on_reconcile},
    {"token.reconcile", "error", on_reconcile},
    {"policy.apply", "ok", on_policy},
    {"identity.create", "ok", on_identity_create},
    {"admin.recover", "ok", on_recover},
    {"ca.renew", "ok", on_ca_renew},
    {"server.renew", "ok", on_server_renew},
    {"identity.renew", "ok", fold_renew},
    {"identity.disable", "ok", on_identity_switch},
    {"identity.enable", "ok", on_identity_switch},
    {"key.create", "intent", on_key_intent},
    {"key.create", "ok", on_key_result},
    {"key.create", "error", on_key_error},
    {"key.suspend", "ok", fold_key_change},
    {"key.resume", "ok", fold_key_change},
    {"key.retire", "ok", fold_key_change},
    {"key.compromise", "ok", fold_key_change},
    {"key.destroy", "ok", fold_key_change},
    {"key.restore", "ok", fold_key_change},
    {"key.erase", "intent", fold_erase_intent},
    {"key.erase", "ok", fold_erase_result},
    {"release.withdraw", "ok", fold_withdraw},
    {"time.step", "ok", on_time_step},
    {"time.confirm", "ok", on_time_confirm},
};
#define N_EVENTS (sizeof EVENTS / sizeof *EVENTS)

/* A refusal of a key creation has no intent and so changes nothing. */
static bool changes_state(const struct fold *f)
{
    return strcmp(f->is.outcome, "error") || strcmp(f->is.event, "key.create") || rec_obj(f->record, "intent_seq");
}

static int advance(struct fold *f, struct err *e)
{
    struct state *s = f->s;
    char hash[SHA256_HEX];

    sha256_hex(f->line.data, f->line.len, hash);
    if (s->chain.next_seq > 0 && !strcmp(hash, s->head))
        return err_set(e, ERR_INTERNAL, "a record repeats");
    if (!f->is.is_record)
        return err_set(e, ERR_INTERNAL, "a line is no record of format 1");
    memcpy(s->head, hash, sizeof hash);
    s->chain.next_seq = f->is.seq + 1;
    memcpy(s->chain.prev, hash, sizeof hash);
    s->chain.time = f->is.time;
    return 0;
}

static int expects(const struct fold *f, struct err *e)
{
    const struct state *s = f->s;

    if (f->is.seq != s->chain.next_seq || strcmp(f->is.prev, s->chain.prev))
        return err_set(e, ERR_INTERNAL, "record %llu does not follow the one before it", (unsigned long long)f->is.seq);
    if (f->is.time < 0 || f->is.time < s->chain.time)
        return err_set(e, ERR_INTERNAL, "record %llu: its time lies before that of the record before", (unsigned long long)f->is.seq);
    if (!s->genesis && strcmp(f->is.event, "log.genesis"))
        return err_set(e, ERR_INTERNAL, "the log does not begin with log.genesis");
    return 0;
}

static size_t row_of(const struct facts *is)
{
    size_t n = 0;

    while (n < N_EVENTS && (strcmp(is->event, EVENTS[n].event) || strcmp(is->outcome, EVENTS[n].outcome)))
        n++;
    return n;
}

static int apply(struct fold *f, struct err *e)
{
    size_t n;

    e->code = ERR_NONE;
    if (expects(f, e) || advance(f, e))
        return -1;
    n = row_of(&f->is);
    if (n < N_EVENTS && changes_state(f) && EVENTS[n].apply(f, e))
        return err_context(e, "record %llu (%s)", (unsigned long long)f->is.seq, f->is.event);
    return strcmp(f->is.outcome, "ok") ? 0 : fold_stored(f, e);
}

int state_apply(struct state *s, const json_t *record, struct span line, const struct blob_source *blobs, struct err *e)
{
    struct fold f = {.s = s, .record = record, .detail = rec_obj(record, "detail"), .line = line, .blobs = blobs};
    struct err local = {0};

    facts_of_record(record, &f.is);
    return apply(&f, e ? e : &local);
}

int state_apply_signature(struct state *s, const struct record_line *line, struct err *e)
{
    struct fold f = {.s = s, .line = line->text};
    char room[FACTS_ROOM];

    if (!record_line_is(line, LINE_EVENT, "sign.release") && !record_line_is(line, LINE_EVENT, "sign.digest"))
        return err_set(e, ERR_INTERNAL, "the line is not that of a signature's record");
    return facts_of_line(line, room, &f.is, e) ? -1 : apply(&f, e);
}
