/* Asks for the signature of one release and distrusts the answer. */
#include "client/call.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/enc.h"
#include "base/num.h"
#include "base/x509.h"
#include "client/dsse.h"
#include "client/release.h"

void kms_signature_free(struct kms_signature *s)
{
    if (!s)
        return;
    free(s->envelope);
    memset(s, 0, sizeof(*s));
}

static const char *hash_of(const struct kms_sign_request *rq)
{
    return rq->hash ? rq->hash : "sha256";
}

json_t *sign_body(const struct kms_sign_request *rq)
{
    json_t *j = json_pack("{s:s, s:s, s:s, s:s, s:{s:s, s:s}}", "key", rq->key, "app", rq->app, "channel", rq->channel, "version", rq->version,
                          "digest", "alg", hash_of(rq), "hex", rq->digest);

    if (j && rq->name)
        json_object_set_new(j, "name", json_string(rq->name));
    if (j && rq->size >= 0)
        json_object_set_new(j, "size", json_integer(rq->size));
    if (j && rq->source)
        json_object_set_new(j, "source", json_string(rq->source));
    if (j && rq->dry_run)
        json_object_set_new(j, "dry_run", json_true());
    return j;
}

int sign_unsendable(const struct kms_sign_request *rq, struct kms_error *e)
{
    const char *const needed[][2] = {{rq->key, "key"}, {rq->app, "app"}, {rq->channel, "channel"}, {rq->version, "version"}, {rq->digest, "digest"}};

    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        if (!needed[i][0])
            return kms_fail_text(e, KMS_USAGE, "the request has no %s", needed[i][1]);
    return kms_fail_text(e, KMS_USAGE, "the request cannot be written as JSON (not UTF-8, or too long)");
}

static int same(const char *asked, const char *got, const char *what, struct err *e)
{
    return strcmp(asked, got) == 0 ? 0 : err_set(e, ERR_BAD_REQUEST, "it binds the %s '%s' instead of '%s'", what, got, asked);
}

/* The statement must say what was asked for, all of it. */
static int check_release(const struct kms_sign_request *rq, const struct kms_signature *s, struct err *e)
{
    const struct kms_release *r = &s->release;

    if (same(rq->app, r->app, "app", e) || same(rq->channel, r->channel, "channel", e) || same(rq->version, r->version, "version", e) ||
        same(rq->name ? rq->name : rq->app, r->name, "name", e) || same("sha256", hash_of(rq), "hash", e) ||
        same(rq->digest, r->sha256, "digest", e) || same(rq->key, r->key_name, "key", e) || same(s->key, r->key_name, "key", e))
        return -1;
    if (rq->size >= 0 && r->size >= 0 && rq->size != r->size)
        return err_set(e, ERR_BAD_REQUEST, "the statement binds %lld bytes instead of %lld", (long long)r->size, (long long)rq->size);
    if (s->key_version != r->key_version)
        return err_set(e, ERR_BAD_REQUEST, "the statement binds another key version than the answer says");
    return 0;
}

static int take_envelope(const json_t *envelope, struct kms_signature *out, struct err *e)
{
    BUF_AUTO text = BUF_INIT(DSSE_ENVELOPE_MAX);
    DSSE_AUTO d = {0};

    json_canonical(&text, envelope);
    if (buf_ok(&text))
        return err_set(e, ERR_TOO_LARGE, "the envelope is longer than %u bytes", DSSE_ENVELOPE_MAX);
    if (dsse_parse(buf_span(&text), &d, e) || release_parse(buf_span(&d.payload), &out->release, e))
        return -1;
    buf_putc(&text, '\n');
    out->envelope = buf_steal(&text, &out->envelope_len);
    return out->envelope ? 0 : err_set(e, ERR_INTERNAL, "out of memory");
}

static int take_record(const json_t *record, struct kms_signature *out, struct err *e)
{
    struct json_reader r;
    const char *hash;

    if (json_begin(&r, record, "record", e) || json_get_int(&r, "seq", 0, JSON_INT_MAX, &out->seq, e) ||
        json_get_str(&r, "hash", SHA256_HEX - 1, &hash, e))
        return -1;
    if (strlen(hash) != SHA256_HEX - 1 || strspn(hash, "0123456789abcdef") != SHA256_HEX - 1)
        return err_set(e, ERR_BAD_REQUEST, "record.hash is not a SHA-256");
    memcpy(out->hash, hash, SHA256_HEX);
    return 0;
}

static int take_bytes(const char *b64, unsigned char out[static KMS_BLOCK_MAX], size_t *len, struct err *e)
{
    BUF_AUTO bytes = BUF_INIT(KMS_BLOCK_MAX);

    if (b64_decode(&bytes, b64, strlen(b64)) || !bytes.len)
        return err_set(e, ERR_BAD_REQUEST, "the signature is no base64 of at most %d bytes", KMS_BLOCK_MAX);
    memcpy(out, bytes.data, bytes.len);
    *len = bytes.len;
    return 0;
}

/* r and s stand beside the DER for whoever cannot take it apart: they must be those of the same signature. */
static int take_raw(const struct kms_sign_request *rq, const char *b64, struct kms_signature *out, struct err *e)
{
    BUF_AUTO raw = BUF_INIT(KMS_BLOCK_MAX);
    const struct scheme *scheme = scheme_find(strcmp(hash_of(rq), "sha384") ? "p256" : "p384", "digest");
    struct err why = {0};

    if (take_bytes(b64, out->raw, &out->raw_len, e))
        return -1;
    if (!ecdsa_raw(span_of(out->block, out->block_len), scheme, &raw, &why) && span_eq(buf_span(&raw), span_of(out->raw, out->raw_len)))
        return 0;
    return err_set(e, ERR_BAD_REQUEST, "signature_raw is not the r and s of the signature");
}

/* A bare signature must at least be said to be over the digest that was sent. */
static int take_block(const struct kms_sign_request *rq, struct json_reader *r, struct kms_signature *out, struct err *e)
{
    const char *alg, *hex, *block, *raw = NULL;
    const json_t *digest;
    struct json_reader d;

    if (json_get_object(r, "digest", &digest, e) || json_begin(&d, digest, "digest", e) || json_get_str(&d, "alg", 16, &alg, e) ||
        json_get_str(&d, "hex", KMS_DIGEST_TEXT, &hex, e) || json_get_str(r, "signature", 1024, &block, e) || json_opt_str(r, "signature_raw", 1024, &raw, e))
        return -1;
    if (same(hash_of(rq), alg, "hash", e) || same(rq->digest, hex, "digest", e) || same(rq->key, out->key, "key", e))
        return -1;
    return take_bytes(block, out->block, &out->block_len, e) || (raw && take_raw(rq, raw, out, e)) ? -1 : 0;
}

static int take_answer(const struct kms_sign_request *rq, const json_t *answer, struct kms_signature *out, struct err *e)
{
    struct json_reader r;
    const json_t *envelope, *record;
    const char *key, *scheme;

    if (json_begin(&r, answer, "", e) || json_get_str(&r, "scheme", sizeof(out->scheme) - 1, &scheme, e) ||
        json_get_str(&r, "key", NAME_MAX_LEN, &key, e) || json_get_int(&r, "key_version", 1, JSON_INT_MAX, &out->key_version, e) ||
        json_get_object(&r, "record", &record, e))
        return -1;
    memcpy(out->key, key, strlen(key) + 1);
    memcpy(out->scheme, scheme, strlen(scheme) + 1);
    if (take_record(record, out, e))
        return -1;
    if (strcmp(scheme, "digest") == 0 || strcmp(scheme, "digest-pkcs1") == 0)
        return take_block(rq, &r, out, e);
    if (strcmp(scheme, "statement") != 0)
        return err_set(e, ERR_BAD_REQUEST, "the key has the scheme '%s', which this program does not know", scheme);
    return json_get_object(&r, "envelope", &envelope, e) || take_envelope(envelope, out, e) || check_release(rq, out, e) ? -1 : 0;
}

/* Only `allow` is a permission: whatever else came does not say that the release would be signed. */
static int take_decision(const json_t *answer, struct kms_signature *out, struct err *e)
{
    struct json_reader r;
    const char *decision, *rule;

    if (json_begin(&r, answer, "", e) || json_get_str(&r, "decision", 16, &decision, e) || json_get_str(&r, "rule", sizeof(out->rule) - 1, &rule, e) ||
        json_opt_bool(&r, "signed_before", false, &out->signed_before, e))
        return -1;
    memcpy(out->rule, rule, strlen(rule) + 1);
    return strcmp(decision, "allow") ? err_set(e, ERR_BAD_REQUEST, "its decision is '%s' instead of 'allow'", decision) : 0;
}

int sign_take(const struct kms_sign_request *rq, const json_t *answer, const char *request_id, struct kms_signature *out, struct kms_error *e)
{
    KMS_SIGNATURE_AUTO got = {.dry_run = rq->dry_run};
    struct err why = {0};

    snprintf(got.request_id, sizeof(got.request_id), "%s", request_id);
    if (rq->dry_run ? take_decision(answer, &got, &why) : take_answer(rq, answer, &got, &why)) {
        err_context(&why, "the service's answer is not what was asked for");
        kms_fail(e, KMS_REFUSED, &why);
        memcpy(e->request_id, got.request_id, sizeof(e->request_id));
        return -1;
    }
    *out = got;
    memset(&got, 0, sizeof(got));
    return 0;
}

int kms_sign(struct kms *k, const struct kms_sign_request *rq, struct kms_signature *out, struct kms_error *e)
{
    JSON_AUTO *json = sign_body(rq);
    BUF_AUTO body = BUF_INIT(64 << 10);
    KMS_ANSWER_AUTO a = {0};

    if (json)
        json_canonical(&body, json);
    if (!json || buf_ok(&body))
        return sign_unsendable(rq, e);
    struct kms_request call = {.method = "POST", .target = "/v1/sign", .door = KMS_DOOR_CI, .body = buf_span(&body),
                               .idempotency_key = rq->idempotency_key};
    if (kms_call(k, &call, &a, e))
        return -1;
    if (a.http == 202)
        return kms_fail_pending(&a, e);
    return sign_take(rq, a.json, a.request_id, out, e);
}
