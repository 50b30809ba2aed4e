/* What a recorded success is answered with: a function of its record, so that a repeated request gets the same bytes. */
#include <string.h>

#include "audit/state/keylife.h"
#include "audit/statement.h"
#include "base/enc.h"
#include "base/sshsig.h"
#include "kmsd/core/internal.h"

static json_t *pem_json(const char *label, struct span der)
{
    BUF_AUTO pem = BUF_INIT(32768);

    der_to_pem(&pem, label, der);
    return json_string(buf_str(&pem));
}

json_t *key_view(const struct key *k)
{
    json_t *view = json_pack("{s:s, s:s, s:s, s:s, s:o, s:s, s:s, s:s, s:I}", "algorithm", k->algorithm, "created", k->created, "keyid", k->keyid, "name", k->name,
                             "public_key", pem_json("PUBLIC KEY", buf_span(&k->spki)), "purpose", k->purpose, "scheme", k->scheme, "state", key_state_name(k->state), "version",
                             (json_int_t)k->version);

    record_text(view, "compromised", k->compromised);
    record_text(view, "due", k->due);
    return view;
}

static json_t *credential_view(const struct credential *c)
{
    json_t *v = credential_json(c);
    BUF_AUTO id = BUF_INIT(1024);

    if (c->kind == CREDENTIAL_CERTIFICATE)
        buf_puts(&id, c->cert_sha256);
    else
        buf_printf(&id, "%.16s:%s", c->ca_spki_sha256, c->value);
    json_object_set_new(v, "id", json_string(buf_str(&id)));
    json_object_del(v, "ca_spki_b64");
    return v;
}

json_t *identity_view(const struct identity *i)
{
    JSON_AUTO *credentials = json_array();
    JSON_AUTO *ssh = json_array();

    for (unsigned n = 0; n < i->n_credentials; n++)
        json_array_append_new(credentials, credential_view(&i->credential[n]));
    for (unsigned n = 0; n < i->n_ssh; n++) {
        char print[64];
        struct err e;

        if (!ssh_key_fingerprint(i->ssh[n], print, sizeof print, &e))
            json_array_append_new(ssh, json_string(print));
    }
    return json_pack("{s:s, s:O, s:s, s:s, s:O, s:s}", "created", i->created, "credentials", credentials, "kind", i->kind, "name", i->name, "ssh", ssh,
                     "state", i->enabled ? "enabled" : "disabled");
}

/* The signature over a digest; one by ECDSA in both of its usual forms. */
static json_t *answer_digest(const struct key *k, const json_t *record)
{
    const struct scheme *s = k ? scheme_find(k->algorithm, k->scheme) : NULL;
    const char *signature = rec_str(record, "signature");
    BUF_AUTO der = BUF_INIT(1024), raw = BUF_INIT(1024), b64 = BUF_INIT(2048);
    struct err e = {0};
    json_t *answer;

    if (!s || b64_decode(&der, signature, strlen(signature)) || (s->ecdsa && ecdsa_raw(buf_span(&der), s, &raw, &e)))
        return NULL;
    answer = json_pack("{s:s, s:s, s:I, s:s, s:O, s:s}", "request_id", rec_str(record, "req"), "key", k->name, "key_version",
                       (json_int_t)rec_int(rec_obj(record, "key"), "version"), "scheme", k->scheme, "digest", rec_obj(record, "digest"), "signature", signature);
    if (s->ecdsa) {
        b64_encode(&b64, raw.data, raw.len);
        record_text(answer, "signature_raw", buf_str(&b64));
    }
    return answer;
}

static json_t *answer_signed_digest(const struct core *c, const json_t *record)
{
    return answer_digest(state_key(c->state, rec_str(rec_obj(record, "key"), "name")), record);
}

static json_t *answer_key(const struct core *c, const json_t *record)
{
    const struct key *k = state_key(c->state, rec_str(rec_obj(record, "key"), "name"));

    json_t *view = k ? key_view(k) : NULL;

    if (!view)
        return NULL;
    /* As it was then, whatever became of it since. */
    json_object_set_new(view, "state", json_string(key_state_name(KEY_ACTIVE)));
    json_object_del(view, "compromised");
    json_object_del(view, "due");
    return json_pack("{s:o}", "key", view);
}

static json_t *answer_keylife(const struct core *c, const json_t *record)
{
    const json_t *key = rec_obj(record, "key"), *detail = rec_obj(record, "detail");
    json_t *view = json_pack("{s:s, s:s, s:I}", "name", rec_str(key, "name"), "state", rec_str(detail, "state"), "version",
                             (json_int_t)rec_int(key, "version"));

    (void)c;
    if (!strcmp(rec_str(record, "event"), "key.compromise"))
        record_text(view, "compromised", rec_str(record, "time"));
    record_text(view, "due", rec_str(detail, "due"));
    return json_pack("{s:o}", "key", view);
}

static json_t *answer_identity(const struct core *c, const json_t *record)
{
    const char *b64 = rec_str(rec_obj(record, "detail"), "certificate_b64");
    struct identity i;
    struct err e = {0};
    json_t *answer;

    (void)c;
    if (identity_from_json(rec_obj(rec_obj(record, "detail"), "identity"), &i, &e)) {
        identity_clear(&i);
        return NULL;
    }
    memcpy(i.created, rec_str(record, "time"), strnlen(rec_str(record, "time"), sizeof i.created - 1));
    answer = json_pack("{s:o}", "identity", identity_view(&i));
    identity_clear(&i);
    if (*b64) {
        BUF_AUTO der = BUF_INIT(16384);

        if (!b64_decode(&der, b64, strlen(b64)))
            json_object_set_new(answer, "certificate", pem_json("CERTIFICATE", buf_span(&der)));
    }
    return answer;
}

static json_t *answer_renewed(const struct core *c, const json_t *record)
{
    const json_t *detail = rec_obj(record, "detail"), *credential = rec_obj(detail, "credential");
    const char *b64 = rec_str(detail, "certificate_b64");
    BUF_AUTO der = BUF_INIT(16384);

    (void)c;
    if (b64_decode(&der, b64, strlen(b64)))
        return NULL;
    return json_pack("{s:o, s:O, s:{s:s}, s:s}", "certificate", pem_json("CERTIFICATE", buf_span(&der)), "dropped", rec_obj(detail, "dropped"), "identity",
                     "name", rec_str(detail, "name"), "not_after", rec_str(credential, "not_after"));
}

static json_t *answer_switch(const struct core *c, const json_t *record)
{
    (void)c;
    return json_pack("{s:{s:s, s:s}}", "identity", "name", rec_str(rec_obj(record, "detail"), "name"), "state",
                     strcmp(rec_str(record, "event"), "identity.enable") ? "disabled" : "enabled");
}

static json_t *answer_policy(const struct core *c, const json_t *record)
{
    (void)c;
    return json_pack("{s:s}", "sha256", rec_str(rec_obj(record, "detail"), "sha256"));
}

static json_t *answer_plain(const struct core *c, const json_t *record)
{
    (void)c;
    (void)record;
    return json_object();
}

static const struct {
    const char *event;
    unsigned status;
    json_t *(*build)(const struct core *c, const json_t *record);
} ANSWERS[] = {
    {"sign.digest", 200, answer_signed_digest}, {"key.create", 201, answer_key},
    {"identity.create", 201, answer_identity}, {"identity.renew", 201, answer_renewed}, {"identity.disable", 200, answer_switch}, {"identity.enable", 200, answer_switch},
    {"policy.apply", 200, answer_policy}, {"key.suspend", 200, answer_keylife}, {"key.resume", 200, answer_keylife},
    {"key.retire", 200, answer_keylife}, {"key.compromise", 200, answer_keylife}, {"key.destroy", 200, answer_keylife},
    {"key.restore", 200, answer_keylife}, {"release.withdraw", 200, answer_plain}, {"time.confirm", 200, answer_plain},
};

static void put_text(struct buf *out, const char *before, struct span text)
{
    buf_puts(out, before);
    buf_put(out, text.data, text.len);
}

static const struct key *key_of(const struct core *c, const struct record_line *line)
{
    struct span text = record_line_string(line, LINE_KEY_NAME);
    char name[NAME_MAX_LEN + 1] = "";

    if (text.len < sizeof name)
        memcpy(name, text.data ? text.data : (const uint8_t *)"", text.len);
    return state_key(c->state, name);
}

/* By far the most frequent answer is written straight away, in the canonical form that the others get from their tree; what it has in common with the record is in
 * that form there. */
static int put_release(const struct core *c, const struct record_line *line, const char *hash, struct span payload, struct buf *out)
{
    const struct key *k = key_of(c, line);
    BUF_AUTO built = BUF_INIT(RECORD_LINE_MAX);
    struct err e = {0};

    if (!k || (!payload.len && statement_payload(line, c->state->instance, &built, &e)))
        return -1;
    if (!payload.len)
        payload = buf_span(&built);
    buf_expect(out, 2 * payload.len + 512);
    buf_puts(out, "{\"envelope\":{\"payload\":\"");
    b64_encode(out, payload.data, payload.len);
    buf_puts(out, "\",\"payloadType\":\"" STATEMENT_TYPE "\",\"signatures\":[{\"keyid\":");
    json_canonical_string(out, k->keyid);
    put_text(out, ",\"sig\":", line->member[LINE_SIGNATURE]);
    put_text(out, "}]},\"key\":", line->member[LINE_KEY_NAME]);
    put_text(out, ",\"key_version\":", line->member[LINE_KEY_VERSION]);
    buf_puts(out, ",\"record\":{\"hash\":");
    json_canonical_string(out, hash);
    put_text(out, ",\"seq\":", line->member[LINE_SEQ]);
    put_text(out, "},\"request_id\":", line->member[LINE_REQ]);
    put_text(out, ",\"scheme\":", line->member[LINE_SCHEME]);
    buf_putc(out, '}');
    return buf_ok(out);
}

static int put_other(const struct core *c, const struct record_line *line, uint64_t seq, const char *hash, unsigned *status, struct buf *out)
{
    JSON_AUTO *record = json_read_canonical(line->text.data, line->text.len);
    const char *event = rec_str(record, "event");
    JSON_AUTO *body = NULL;

    for (size_t n = 0; n < sizeof ANSWERS / sizeof *ANSWERS && !body; n++)
        if (!strcmp(event, ANSWERS[n].event)) {
            body = ANSWERS[n].build(c, record);
            *status = ANSWERS[n].status;
        }
    if (!body)
        return -1;
    json_object_set_new(body, "record", record_head(seq, hash));
    json_canonical(out, body);
    return buf_ok(out);
}

int answer_put(const struct core *c, const struct record_line *line, struct span payload, unsigned *status, struct buf *out)
{
    char hash[SHA256_HEX];
    uint64_t seq;

    if (record_line_number(line, LINE_SEQ, &seq))
        return -1;
    if (seq + 1 == c->state->chain.next_seq)
        memcpy(hash, c->state->head, sizeof hash); /* of the newest record it is known */
    else
        sha256_hex(line->text.data, line->text.len, hash);
    *status = 200;
    return record_line_is(line, LINE_EVENT, "sign.release") ? put_release(c, line, hash, payload, out) : put_other(c, line, seq, hash, status, out);
}
