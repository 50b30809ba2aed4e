/* The signature over a release or a digest: what was signed is written anew from the record, then verified with the recorded public key. */
#include <inttypes.h>
#include <string.h>

#include "audit/verify/canon.h"
#include "audit/verify/check.h"
#include "base/enc.h"
#include "base/x509.h"

#define TYPE "application/vnd.in-toto+json" /* 28 characters */

static void put_text(struct buf *out, const char *label, const json_t *object, const char *member)
{
    const json_t *v = json_object_get(object, member);

    buf_puts(out, label);
    canon_string(out, json_string_value(v), json_string_length(v));
}

static void put_count(struct buf *out, const char *label, const json_t *object, const char *member)
{
    buf_puts(out, label);
    canon_count(out, count_of(object, member));
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
    put_count(out, ",\"version\":", key, "version");
    put_text(out, "},\"log_head\":{\"hash\":", head, "hash");
    put_count(out, ",\"seq\":", head, "seq");
    put_text(out, "},\"name\":", r->detail, "name");
    put_text(out, ",\"request_id\":", r->json, "req");
    if (json_object_get(r->detail, "size"))
        put_count(out, ",\"size\":", r->detail, "size");
    if (json_object_get(r->json, "source_claimed"))
        put_text(out, ",\"source_claimed\":", r->json, "source_claimed");
    put_text(out, ",\"version\":", artifact, "version");
    buf_puts(out, "},\"predicateType\":\"https://kmsd.dev/release/v1\",\"subject\":[{\"digest\":{");
    put_text(out, "\"sha256\":", json_object_get(r->json, "digest"), "hex");
    put_text(out, "},\"name\":", r->detail, "name");
    buf_puts(out, "}]}");
}

static int put_statement(struct check *c, const struct record *r, struct buf *out)
{
    struct buf *payload = &c->payload;

    buf_clear(payload);
    put_payload(payload, r, c->state.instance);
    buf_puts(out, "DSSEv1 28 " TYPE " ");
    canon_count(out, payload->len);
    buf_putc(out, ' ');
    buf_put(out, payload->data, payload->len);
    return buf_ok(payload) || buf_ok(out);
}

static int put_digest(const struct record *r, struct buf *out)
{
    const char *hex = text_of(json_object_get(r->json, "digest"), "hex");
    uint8_t digest[SCHEME_DIGEST_MAX];

    if (strlen(hex) / 2 > sizeof digest || hex_decode(hex, strlen(hex), digest, strlen(hex) / 2))
        return -1;
    buf_put(out, digest, strlen(hex) / 2);
    return buf_ok(out);
}

static int fails(struct check *c, const struct record *r, const char *name, uint64_t version, bool doubtful)
{
    if (doubtful)
        return check_lacks(c, r, "the signature does not verify");
    return check_fail(c, r, FINDING_SIGNATURE, "the signature does not verify with key %.64s version %" PRIu64, name, version);
}

void signature_judged(void *check, const struct work *w)
{
    struct check *c = check;
    const struct record r = {.seq = w->seq, .line = w->line, .altered = w->altered};

    if (w->good)
        c->counts.signatures++;
    else
        (void)fails(c, &r, w->name, w->version, w->doubtful);
}

int signature_check(struct check *c, const struct record *r, struct key *k)
{
    const char *b64 = text_of(r->json, "signature");
    struct work *w = workers_next(c->workers);
    struct err e = {0};
    int bad;

    if (b64_decode(&w->signature, b64, strlen(b64)))
        return check_fail(c, r, FINDING_SIGNATURE, "the signature is no base64");
    if (!k->public)
        k->public = pubkey_open(buf_span(&k->spki), scheme_find(k->algorithm, k->scheme), &e);
    bad = r->event == EVENT_SIGN_RELEASE ? put_statement(c, r, &w->message) : put_digest(r, &w->message);
    if (bad || !k->public)
        return fails(c, r, k->name, k->version, k->doubtful);
    w->key = k->public;
    w->seq = r->seq;
    w->line = r->line;
    w->altered = r->altered;
    w->doubtful = k->doubtful;
    w->name = k->name;
    w->version = k->version;
    workers_add(c->workers);
    return 0;
}
