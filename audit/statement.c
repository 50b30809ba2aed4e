/* Rebuilds the signed payload of a release from its record, byte for byte. */
#include "audit/statement.h"

#include "audit/record.h"
#include "base/enc.h"

static void copy_if(json_t *to, const char *name, const json_t *from, const char *member)
{
    json_t *v = json_object_get(from, member);

    if (v)
        json_object_set(to, name, v);
}

int statement_payload(const json_t *record, const char *instance, struct buf *out, struct err *e)
{
    const json_t *detail = rec_obj(record, "detail"), *artifact = rec_obj(record, "artifact");
    JSON_AUTO *predicate = json_pack("{s:s, s:s}", "instance", instance, "request_id", rec_str(record, "req"));

    copy_if(predicate, "app", artifact, "app");
    copy_if(predicate, "channel", artifact, "channel");
    copy_if(predicate, "version", artifact, "version");
    copy_if(predicate, "environment", detail, "environment");
    copy_if(predicate, "issued", detail, "issued");
    copy_if(predicate, "log_head", detail, "log_head");
    copy_if(predicate, "name", detail, "name");
    copy_if(predicate, "size", detail, "size");
    copy_if(predicate, "key", record, "key");
    copy_if(predicate, "source_claimed", record, "source_claimed");
    JSON_AUTO *statement = json_pack("{s:s, s:O, s:s, s:[{s:{s:s}, s:s}]}", "_type", "https://in-toto.io/Statement/v1", "predicate", predicate,
                                     "predicateType", STATEMENT_PREDICATE, "subject", "digest", "sha256", rec_str(rec_obj(record, "digest"), "hex"),
                                     "name", rec_str(detail, "name"));
    if (!statement)
        return err_set(e, ERR_INTERNAL, "out of memory while building the statement");
    json_canonical(out, statement);
    return buf_ok(out) ? err_set(e, ERR_INTERNAL, "the statement is too long") : 0;
}

void statement_pae(struct span payload, struct buf *out)
{
    buf_printf(out, "DSSEv1 %zu %s %zu ", sizeof(STATEMENT_TYPE) - 1, STATEMENT_TYPE, payload.len);
    buf_put(out, payload.data, payload.len);
}

json_t *statement_envelope(struct span payload, const char *keyid, const char *signature_b64)
{
    BUF_AUTO b64 = BUF_INIT(256 << 10);

    b64_encode(&b64, payload.data, payload.len);
    if (buf_ok(&b64))
        return NULL;
    return json_pack("{s:s, s:s, s:[{s:s, s:s}]}", "payload", buf_str(&b64), "payloadType", STATEMENT_TYPE, "signatures", "keyid", keyid, "sig",
                     signature_b64);
}
