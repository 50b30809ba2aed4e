/* Reads the payload of a release statement strictly. */
#include "client/release.h"

#include <stdio.h>
#include <string.h>

#include "audit/statement.h"
#include "base/enc.h"
#include "base/hash.h"
#include "base/num.h"
#include "base/timefmt.h"
#include "policy/names.h"
#include "policy/version.h"

/* The public header repeats the limits, so that it needs no other. */
_Static_assert(KMS_NAME_TEXT == NAME_MAX_LEN + 1 && KMS_APP_TEXT == APP_MAX_LEN + 1 && KMS_ARTIFACT_TEXT == ARTIFACT_MAX_LEN + 1, "names");
_Static_assert(KMS_VERSION_TEXT == VERSION_MAX + 1 && KMS_SHA256_TEXT == SHA256_HEX && KMS_TIME_TEXT == TIME_TEXT, "values");
_Static_assert(KMS_RULE_TEXT == ERR_RULE_MAX, "rules");

#define IN_TOTO_TYPE "https://in-toto.io/Statement/v1"

static int copy_text(char *out, size_t size, const char *text, const char *what, struct err *e)
{
    if (strlen(text) >= size)
        return err_set(e, ERR_BAD_REQUEST, "%s is too long", what);
    memcpy(out, text, strlen(text) + 1);
    return 0;
}

static int copy_hash(char out[static SHA256_HEX], const char *text, const char *what, struct err *e)
{
    uint8_t raw[SHA256_LEN];

    if (hex_decode(text, strlen(text), raw, sizeof(raw)))
        return err_set(e, ERR_BAD_DIGEST, "%s is not a SHA-256 in 64 lower-case hexadecimal characters", what);
    memcpy(out, text, SHA256_HEX);
    return 0;
}

static int copy_time(char out[static TIME_TEXT], const char *text, const char *what, struct err *e)
{
    int64_t us;

    if (time_parse(text, &us))
        return err_set(e, ERR_BAD_REQUEST, "%s is not a time such as 2026-03-03T08:09:10.123456Z", what);
    return copy_text(out, TIME_TEXT, text, what, e);
}

/* subject: exactly one, {name, digest: {sha256}}. */
static int read_subject(const json_t *subjects, struct kms_release *out, struct err *e)
{
    struct json_reader r, d;
    const char *name, *hex;
    const json_t *digest;

    if (json_array_size(subjects) != 1)
        return err_set(e, ERR_BAD_REQUEST, "the statement has %zu subjects; exactly one is expected", json_array_size(subjects));
    if (json_begin(&r, json_array_get(subjects, 0), "subject[0]", e) || json_get_str(&r, "name", ARTIFACT_MAX_LEN, &name, e) ||
        json_get_object(&r, "digest", &digest, e) || json_done(&r, e))
        return -1;
    if (json_begin(&d, digest, "subject[0].digest", e) || json_get_str(&d, "sha256", SHA256_HEX - 1, &hex, e) || json_done(&d, e))
        return -1;
    return artifact_check(name, "subject[0].name", e) || copy_text(out->name, sizeof(out->name), name, "subject[0].name", e) ||
                   copy_hash(out->sha256, hex, "subject[0].digest.sha256", e)
               ? -1
               : 0;
}

static int read_names(struct json_reader *r, struct kms_release *out, struct err *e)
{
    const char *app, *channel, *version, *name;

    if (json_get_str(r, "app", APP_MAX_LEN, &app, e) || json_get_str(r, "channel", NAME_MAX_LEN, &channel, e) ||
        json_get_str(r, "version", VERSION_MAX, &version, e) || json_get_str(r, "name", ARTIFACT_MAX_LEN, &name, e))
        return -1;
    if (app_check(app, "predicate.app", e) || name_check(channel, "predicate.channel", e) || version_check(version, e))
        return -1;
    if (strcmp(name, out->name) != 0)
        return err_set(e, ERR_BAD_REQUEST, "predicate.name is not the name of the subject");
    return copy_text(out->app, sizeof(out->app), app, "predicate.app", e) ||
                   copy_text(out->channel, sizeof(out->channel), channel, "predicate.channel", e) ||
                   copy_text(out->version, sizeof(out->version), version, "predicate.version", e)
               ? -1
               : 0;
}

static int read_key(struct json_reader *r, struct kms_release *out, struct err *e)
{
    struct json_reader k;
    const json_t *key;
    const char *name;

    if (json_get_object(r, "key", &key, e) || json_begin(&k, key, "predicate.key", e) ||
        json_get_str(&k, "name", NAME_MAX_LEN, &name, e) || json_get_int(&k, "version", 1, JSON_INT_MAX, &out->key_version, e) ||
        json_done(&k, e) || name_check(name, "predicate.key.name", e))
        return -1;
    return copy_text(out->key_name, sizeof(out->key_name), name, "predicate.key.name", e);
}

static int read_log_head(struct json_reader *r, struct kms_release *out, struct err *e)
{
    struct json_reader h;
    const json_t *head;
    const char *hash;

    if (json_get_object(r, "log_head", &head, e) || json_begin(&h, head, "predicate.log_head", e) ||
        json_get_int(&h, "seq", 0, JSON_INT_MAX, &out->log_seq, e) || json_get_str(&h, "hash", SHA256_HEX - 1, &hash, e) || json_done(&h, e))
        return -1;
    return copy_hash(out->log_hash, hash, "predicate.log_head.hash", e);
}

static int read_origin(struct json_reader *r, struct kms_release *out, struct err *e)
{
    const char *instance, *environment, *issued, *expires, *request_id;

    if (json_get_str(r, "instance", KMS_ORIGIN_TEXT - 1, &instance, e) || json_get_str(r, "environment", 15, &environment, e) ||
        json_get_str(r, "issued", TIME_TEXT - 1, &issued, e) || json_opt_str(r, "expires", TIME_TEXT - 1, &expires, e) ||
        json_get_str(r, "request_id", KMS_ORIGIN_TEXT - 1, &request_id, e))
        return -1;
    if (strcmp(environment, "development") != 0 && strcmp(environment, "production") != 0)
        return err_set(e, ERR_BAD_REQUEST, "predicate.environment is neither development nor production");
    if (copy_text(out->instance, sizeof(out->instance), instance, "predicate.instance", e) ||
        copy_text(out->environment, sizeof(out->environment), environment, "predicate.environment", e) ||
        copy_text(out->request_id, sizeof(out->request_id), request_id, "predicate.request_id", e))
        return -1;
    return copy_time(out->issued, issued, "predicate.issued", e) || (expires && copy_time(out->expires, expires, "predicate.expires", e)) ? -1 : 0;
}

/* `source` is what the credential proved (text or object), `source_claimed` what the caller said. */
static int read_source(struct json_reader *r, const json_t *predicate, struct kms_release *out, struct err *e)
{
    BUF_AUTO text = BUF_INIT(KMS_SOURCE_TEXT - 1);
    const char *claimed, *proven = NULL;
    const json_t *object = NULL;

    if (json_opt_str(r, "source_claimed", KMS_SOURCE_TEXT - 1, &claimed, e))
        return -1;
    if (json_is_object(json_object_get(predicate, "source")) ? json_opt_object(r, "source", &object, e)
                                                             : json_opt_str(r, "source", KMS_SOURCE_TEXT - 1, &proven, e))
        return -1;
    if (object)
        json_canonical(&text, object);
    else if (proven || claimed)
        buf_puts(&text, proven ? proven : claimed);
    if (buf_ok(&text))
        return err_set(e, ERR_BAD_REQUEST, "predicate.source is too long");
    return copy_text(out->source, sizeof(out->source), buf_str(&text), "predicate.source", e);
}

static int read_predicate(const json_t *predicate, struct kms_release *out, struct err *e)
{
    struct json_reader r;

    if (json_begin(&r, predicate, "predicate", e) || read_names(&r, out, e) || json_opt_int(&r, "size", 0, JSON_INT_MAX, -1, &out->size, e) ||
        read_key(&r, out, e) || read_log_head(&r, out, e) || read_origin(&r, out, e) || read_source(&r, predicate, out, e))
        return -1;
    return json_done(&r, e);
}

static int read_statement(const json_t *object, struct kms_release *out, struct err *e)
{
    struct json_reader r;
    const char *type, *predicate_type;
    const json_t *subjects, *predicate;

    if (json_begin(&r, object, "", e) || json_get_str(&r, "_type", 256, &type, e) || json_get_str(&r, "predicateType", 256, &predicate_type, e) ||
        json_get_array(&r, "subject", 16, &subjects, e) || json_get_object(&r, "predicate", &predicate, e) || json_done(&r, e))
        return -1;
    if (strcmp(type, IN_TOTO_TYPE) != 0 || strcmp(predicate_type, STATEMENT_PREDICATE) != 0)
        return err_set(e, ERR_BAD_REQUEST, "the payload is not an in-toto statement of the type %s", STATEMENT_PREDICATE);
    return read_subject(subjects, out, e) || read_predicate(predicate, out, e) ? -1 : 0;
}

int release_parse(struct span payload, struct kms_release *out, struct err *e)
{
    JSON_AUTO *object = json_read_object(payload.data, payload.len, payload.len, e);
    struct kms_release got = {.size = -1};

    if (!object || read_statement(object, &got, e))
        return err_context(e, "statement");
    *out = got;
    return 0;
}

json_t *release_to_json(const struct kms_release *r)
{
    json_t *j = json_pack("{s:s, s:s, s:s, s:s, s:s, s:{s:s, s:I}, s:s, s:s, s:s, s:s, s:{s:s, s:I}}", "app", r->app, "channel", r->channel,
                          "version", r->version, "name", r->name, "sha256", r->sha256, "key", "name", r->key_name, "version",
                          (json_int_t)r->key_version, "instance", r->instance, "environment", r->environment, "issued", r->issued,
                          "request_id", r->request_id, "log_head",
                          "hash", r->log_hash, "seq", (json_int_t)r->log_seq);

    if (j && r->size >= 0)
        json_object_set_new(j, "size", json_integer(r->size));
    if (j && r->source[0])
        json_object_set_new(j, "source", json_string(r->source));
    if (j && r->expires[0])
        json_object_set_new(j, "expires", json_string(r->expires));
    return j;
}
