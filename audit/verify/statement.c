/* The signature over a release or a digest: what was signed is written anew from the record, then verified with the recorded public key. */
#include <inttypes.h>
#include <string.h>

#include "audit/verify/canon.h"
#include "audit/verify/check.h"
#include "base/enc.h"
#include "base/x509.h"

#define PAYLOAD_MAX (256u << 10)
#define TYPE "application/vnd.in-toto+json"

static void put_text(struct buf *out, const char *label, const json_t *object, const char *member)
{
    const json_t *v = json_object_get(object, member);

    buf_puts(out, label);
    canon_string(out, json_string_value(v), json_string_length(v));
}

/* in-toto Statement v1, members in the order of RFC 8785. */
static void put_payload(struct buf *out, const struct record *r, const char *instance)
{
    const json_t *artifact = json_object_get(r->json, "artifact"), *key = json_object_get(r->json, "key");
    const json_t *head = json_object_get(r->detail, "log_head");

    buf_puts(out, "{\"_type\":\"https://in-toto.io/Statement/v1\",\"predicate\":{");
    put_text(out, "\"app\":", artifact, "app");
    put_text(out, ",\"channel\":", artifact, "channel");
    put_text(out, ",\"environment\":", r->detail, "environment");
    buf_puts(out, ",\"instance\":");
    canon_string(out, instance, strlen(instance));
    put_text(out, ",\"issued\":", r->detail, "issued");
    put_text(out, ",\"key\":{\"name\":", key, "name");
    buf_printf(out, ",\"version\":%" PRIu64 "}", count_of(key, "version"));
    put_text(out, ",\"log_head\":{\"hash\":", head, "hash");
    buf_printf(out, ",\"seq\":%" PRIu64 "}", count_of(head, "seq"));
    put_text(out, ",\"name\":", r->detail, "name");
    put_text(out, ",\"request_id\":", r->json, "req");
    if (json_object_get(r->detail, "size"))
        buf_printf(out, ",\"size\":%" PRIu64, count_of(r->detail, "size"));
    if (json_object_get(r->json, "source_claimed"))
        put_text(out, ",\"source_claimed\":", r->json, "source_claimed");
    put_text(out, ",\"version\":", artifact, "version");
    buf_puts(out, "},\"predicateType\":\"https://kmsd.dev/release/v1\",\"subject\":[{\"digest\":{");
    put_text(out, "\"sha256\":", json_object_get(r->json, "digest"), "hex");
    put_text(out, "},\"name\":", r->detail, "name");
    buf_puts(out, "}]}");
}

static int verify_statement(const struct record *r, const char *instance, const struct key *k, struct span signature)
{
    BUF_AUTO payload = BUF_INIT(PAYLOAD_MAX), pae = BUF_INIT(PAYLOAD_MAX + 64);
    struct err e = {0};

    put_payload(&payload, r, instance);
    buf_printf(&pae, "DSSEv1 %zu %s %zu ", strlen(TYPE), TYPE, payload.len);
    buf_put(&pae, payload.data, payload.len);
    return buf_ok(&payload) || buf_ok(&pae) ? -1 : spki_verify(buf_span(&k->spki), buf_span(&pae), signature, &e);
}

static int verify_digest(const struct record *r, const struct key *k, struct span signature)
{
    const struct scheme *s = scheme_find(k->algorithm, k->scheme);
    const char *hex = text_of(json_object_get(r->json, "digest"), "hex");
    uint8_t digest[SCHEME_DIGEST_MAX];
    struct err e = {0};

    if (!s || strlen(hex) != 2 * s->hash_len || hex_decode(hex, strlen(hex), digest, s->hash_len))
        return -1;
    return spki_verify_digest(buf_span(&k->spki), s, span_of(digest, s->hash_len), signature, &e);
}

int signature_check(struct check *c, const struct record *r, const struct key *k)
{
    const char *b64 = text_of(r->json, "signature");
    BUF_AUTO signature = BUF_INIT(PAYLOAD_MAX);
    int bad;

    if (b64_decode(&signature, b64, strlen(b64)))
        return check_fail(c, r, FINDING_SIGNATURE, "the signature is no base64");
    if (r->event == EVENT_SIGN_RELEASE)
        bad = verify_statement(r, c->state.instance, k, buf_span(&signature));
    else
        bad = verify_digest(r, k, buf_span(&signature));
    if (!bad) {
        c->counts.signatures++;
        return 0;
    }
    if (k->doubtful)
        return check_lacks(c, r, "the signature does not verify");
    return check_fail(c, r, FINDING_SIGNATURE, "the signature does not verify with key %.64s version %" PRIu64, k->name, k->version);
}
