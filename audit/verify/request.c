/* What a person signed: the SSH signature over a request, its nonce, and its body. */
#include <string.h>

#include "audit/verify/canon.h"
#include "audit/verify/check.h"
#include "base/enc.h"
#include "base/sshsig.h"

#define NAMESPACE "kmsd-request@v1"
#define BODY_MAX (4u << 20)

static void put_text(struct buf *out, const char *label, const char *text)
{
    buf_puts(out, label);
    canon_string(out, text, strlen(text));
}

/* The signed bytes: RFC 8785 form of {body_sha256, instance, method, nonce, path}. */
static void put_message(struct buf *out, const json_t *request, const char *instance)
{
    put_text(out, "{\"body_sha256\":", text_of(request, "body_sha256"));
    put_text(out, ",\"instance\":", instance);
    put_text(out, ",\"method\":", text_of(request, "method"));
    put_text(out, ",\"nonce\":", text_of(request, "nonce"));
    put_text(out, ",\"path\":", text_of(request, "path"));
    buf_putc(out, '}');
}

static int check_signature(struct check *c, const struct record *r, const json_t *request)
{
    const char *b64 = text_of(request, "sshsig_b64");
    const struct identity *who;
    BUF_AUTO blob = BUF_INIT(SSHSIG_MAX), message = BUF_INIT(BODY_MAX);
    char key[SSH_KEY_TEXT_MAX];
    struct err e = {0};

    put_message(&message, request, c->state.instance);
    if (buf_ok(&message) || b64_decode(&blob, b64, strlen(b64)) || sshsig_key(buf_span(&blob), key, sizeof key, &e))
        return check_fail(c, r, FINDING_SIGNATURE, "the request carries no usable SSH signature");
    if (sshsig_verify(buf_span(&blob), NAMESPACE, buf_span(&message), key, NULL, &e))
        return check_fail(c, r, FINDING_SIGNATURE, "the SSH signature of the request does not verify");
    who = actor_check(c, r);
    if (!who)
        return -1;
    if (strcmp(who->kind, "human"))
        return check_fail(c, r, FINDING_INVALID, "%.64s is no person and may not sign requests", who->name);
    if (!identity_has_ssh(who, key))
        return check_lacks(c, r, "the SSH key that signed the request does not belong to %.64s", who->name);
    c->counts.requests++;
    return 0;
}

static int take_body(struct check *c, const struct record *r, const json_t *request, struct buf *body)
{
    const char *hash = text_of(request, "body_sha256"), *blob = text_of(request, "blob"), *b64 = text_of(request, "body_b64");
    char actual[SHA256_HEX];

    if (strcmp(text_of(r->json, "body_sha256"), hash))
        return check_fail(c, r, FINDING_INVALID, "body_sha256 of the record is not that of the signed request");
    if (!json_object_get(request, "blob") == !json_object_get(request, "body_b64"))
        return check_fail(c, r, FINDING_INVALID, "the request must hold its body or name its blob");
    if (*blob && strcmp(blob, hash))
        return check_fail(c, r, FINDING_INVALID, "the blob is not the body that was signed");
    if (*blob)
        return blob_check(c, r, blob, body);
    if (b64_decode(body, b64, strlen(b64)))
        return check_fail(c, r, FINDING_INVALID, "the body of the request is no base64");
    sha256_hex(body->len ? (const void *)body->data : "", body->len, actual);
    return strcmp(actual, hash) ? check_fail(c, r, FINDING_INVALID, "the body of the request is not the one that was signed") : 0;
}

int request_check(struct check *c, const struct record *r, const char *method, const char *path, struct buf *body)
{
    const json_t *request = json_object_get(r->json, "request");
    int failed = check_signature(c, r, request);

    if (state_take(&c->state.nonces, text_of(request, "nonce")))
        failed = check_fail(c, r, FINDING_INVALID, "the nonce of the request was used before");
    if (strcmp(text_of(request, "method"), method) || strcmp(text_of(request, "path"), path))
        failed = check_fail(c, r, FINDING_INVALID, "the signed request asks for something else than %s %.160s", method, path);
    return take_body(c, r, request, body) || failed ? -1 : 0;
}

json_t *request_json(struct check *c, const struct record *r, const char *method, const char *path)
{
    BUF_AUTO body = BUF_INIT(BODY_MAX);
    struct err e = {0};
    json_t *j;

    if (request_check(c, r, method, path, &body))
        return NULL;
    j = json_read_object(body.data, body.len, BODY_MAX, &e);
    if (!j)
        (void)check_fail(c, r, FINDING_INVALID, "the body of the signed request is no JSON object");
    return j;
}
