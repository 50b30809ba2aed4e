/* The SSH signature of a person under an administrative request: checked here, kept in the record. */
#include <string.h>

#include "base/enc.h"
#include "base/sshsig.h"
#include "kmsd/core/internal.h"

#define REQUEST_NAMESPACE "kmsd-request@v1"

struct attempt {
    const struct core *c;
    const struct request *rq;
    const char *key;
    struct span blob;
};

static bool fits(void *ctx, const char *nonce)
{
    const struct attempt *a = ctx;
    struct err e = {0};
    BUF_AUTO text = BUF_INIT(8192);
    JSON_AUTO *j = json_pack("{s:s, s:s, s:s, s:s, s:s}", "body_sha256", a->rq->body_sha256, "instance", a->c->state->instance, "method", a->rq->method,
                             "nonce", nonce, "path", a->rq->target);

    json_canonical(&text, j);
    return j && !buf_ok(&text) && !sshsig_verify(a->blob, REQUEST_NAMESPACE, buf_span(&text), a->key, NULL, &e);
}

static const char *own_key(const struct identity *i, const char *key)
{
    for (unsigned n = 0; n < i->n_ssh; n++)
        if (!strcmp(i->ssh[n], key))
            return i->ssh[n];
    return NULL;
}

static int keep(struct core *c, struct request *rq, const char *nonce, struct err *e)
{
    BUF_AUTO b64 = BUF_INIT(16384);

    rq->evidence = json_pack("{s:s, s:s, s:s, s:s, s:s#}", "method", rq->method, "path", rq->target, "body_sha256", rq->body_sha256, "nonce", nonce,
                             "sshsig_b64", (const char *)rq->kms_signature.data, rq->kms_signature.len);
    if (!rq->evidence)
        return err_set(e, ERR_BUSY, "the service is out of memory");
    if (rq->body.len > BODY_INLINE_MAX) {
        json_object_set_new(rq->evidence, "blob", json_string(rq->body_sha256));
        return 0;
    }
    b64_encode(&b64, rq->body.data, rq->body.len);
    json_object_set_new(rq->evidence, "body_b64", json_string(buf_str(&b64)));
    (void)c;
    return 0;
}

int evidence_check(struct core *c, struct request *rq, struct err *e)
{
    const struct identity *i = state_identity(c->state, rq->identity);
    BUF_AUTO blob = BUF_INIT(SSHSIG_MAX);
    char key[SSH_KEY_TEXT_MAX], nonce[NONCE_HEX];
    unsigned tried;
    struct attempt a = {.c = c, .rq = rq};

    if (!i || strcmp(i->kind, "human"))
        return err_set(e, ERR_FORBIDDEN, "only people may change things here; %s is an identity of kind %s", rq->identity, rq->kind);
    if (!rq->kms_signature.len)
        return err_set(e, ERR_SIGNATURE_REQUIRED, "%s %s carries no Kms-Signature", rq->method, rq->path);
    if (rq->kms_signature.len > 2 * SSHSIG_MAX || b64_decode(&blob, (const char *)rq->kms_signature.data, rq->kms_signature.len))
        return err_set(e, ERR_SIGNATURE_INVALID, "Kms-Signature is not the base64 of a binary SSHSIG (the armour's body without line breaks)");
    a.blob = buf_span(&blob);
    if (sshsig_key(a.blob, key, sizeof key, e))
        return -1;
    a.key = own_key(i, key);
    if (!a.key)
        return err_set(e, ERR_SIGNATURE_INVALID, "the SSH key that signed does not belong to %s", i->name);
    if (!nonce_take(c, rq->cred, fits, &a, nonce, &tried))
        return keep(c, rq, nonce, e);
    if (!tried)
        return err_set(e, ERR_NONCE_INVALID, "this certificate has no unused nonce younger than 60 seconds");
    return err_set(e, ERR_SIGNATURE_INVALID, "Kms-Signature does not fit this method, path, body and an unused nonce of this certificate");
}
