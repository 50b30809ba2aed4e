/* Reads and verifies DSSE envelopes; the key always comes from the caller. */
#include "client/dsse.h"

#include <string.h>

#include "audit/statement.h"
#include "base/enc.h"
#include "base/json.h"
#include "base/x509.h"

void dsse_free(struct dsse *d)
{
    buf_free(&d->payload);
    buf_free(&d->signature);
    memset(d, 0, sizeof(*d));
}

static int read_signature(const json_t *item, struct dsse *out, struct err *e)
{
    struct json_reader r;
    const char *keyid, *sig;
    uint8_t raw[SHA256_LEN];

    if (json_begin(&r, item, "signatures[0]", e) || json_get_str(&r, "keyid", SHA256_HEX - 1, &keyid, e) ||
        json_get_str(&r, "sig", DSSE_SIGNATURE_MAX * 2, &sig, e) || json_done(&r, e))
        return -1;
    if (hex_decode(keyid, strlen(keyid), raw, sizeof(raw)))
        return err_set(e, ERR_BAD_REQUEST, "keyid is not a SHA-256 in 64 lower-case hexadecimal characters");
    memcpy(out->keyid, keyid, SHA256_HEX);
    out->signature = BUF_INIT(DSSE_SIGNATURE_MAX);
    if (b64_decode(&out->signature, sig, strlen(sig)) || buf_ok(&out->signature) || out->signature.len == 0)
        return err_set(e, ERR_BAD_REQUEST, "sig is not base64 of a signature");
    return 0;
}

static int read_envelope(const json_t *object, struct dsse *out, struct err *e)
{
    struct json_reader r;
    const char *payload, *type;
    const json_t *signatures;

    if (json_begin(&r, object, "", e) || json_get_str(&r, "payload", DSSE_ENVELOPE_MAX, &payload, e) ||
        json_get_str(&r, "payloadType", 256, &type, e) || json_get_array(&r, "signatures", 16, &signatures, e) || json_done(&r, e))
        return -1;
    if (strcmp(type, STATEMENT_TYPE) != 0)
        return err_set(e, ERR_BAD_REQUEST, "payloadType is not %s", STATEMENT_TYPE);
    if (json_array_size(signatures) != 1)
        return err_set(e, ERR_BAD_REQUEST, "the envelope has %zu signatures; exactly one is expected", json_array_size(signatures));
    out->payload = BUF_INIT(DSSE_PAYLOAD_MAX);
    if (b64_decode(&out->payload, payload, strlen(payload)) || buf_ok(&out->payload))
        return err_set(e, ERR_BAD_REQUEST, "payload is not base64 of at most %u bytes", DSSE_PAYLOAD_MAX);
    return read_signature(json_array_get(signatures, 0), out, e);
}

int dsse_parse(struct span text, struct dsse *out, struct err *e)
{
    JSON_AUTO *object = json_read_object(text.data, text.len, DSSE_ENVELOPE_MAX, e);

    if (!object)
        return err_context(e, "envelope");
    if (read_envelope(object, out, e)) {
        dsse_free(out);
        return err_context(e, "envelope");
    }
    return 0;
}

void dsse_pae(const struct dsse *d, struct buf *out)
{
    statement_pae(buf_span(&d->payload), out);
}

int dsse_verify(const struct dsse *d, struct span spki, struct err *e)
{
    BUF_AUTO pae = BUF_INIT(DSSE_PAYLOAD_MAX + 128);
    char keyid[SHA256_HEX];

    sha256_hex(spki.data, spki.len, keyid);
    if (strcmp(keyid, d->keyid) != 0)
        return err_set(e, ERR_SIGNATURE_INVALID, "the envelope was signed with the key %s, not with the given one, %s", d->keyid, keyid);
    dsse_pae(d, &pae);
    if (buf_ok(&pae))
        return err_set(e, ERR_INTERNAL, "out of memory");
    if (spki_verify(spki, buf_span(&pae), buf_span(&d->signature), e))
        return err_set(e, ERR_SIGNATURE_INVALID, "the signature is not one of the given key over this statement");
    return 0;
}
