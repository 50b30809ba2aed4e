/* kmsctl sign --pub: verifies what the service sent with a key that did not come from it. */
#include "client/cmd_sign_check.h"

#include <string.h>

#include "base/enc.h"
#include "base/x509.h"
#include "client/api.h"
#include "client/config.h"
#include "client/verify.h"

int sign_check_key(struct context *c, struct buf *spki)
{
    const char *file = config_text(c, OPT_PUB);

    *spki = (struct buf){0};
    if (!file)
        return 0;
    if (config_text(c, OPT_DRY_RUN))
        return kms_fail_text(&c->error, KMS_USAGE, "--pub verifies signatures, and --dry-run makes none");
    return api_pem(c, file, "PUBLIC KEY", NULL, spki);
}

/* Whether a statement may be relied on (its end, a development server) is for those who verify it later. */
static int check_statement(struct span spki, const struct kms_sign_request *rq, const struct kms_signature *s, struct err *e)
{
    const struct kms_expect x = {.sha256 = rq->digest, .size = rq->size, .app = rq->app, .channel = rq->channel, .version = rq->version, .name = rq->name,
                                 .allow_development = true};
    struct kms_release unused;

    return verify_envelope(span_of(s->envelope, s->envelope_len), spki, &x, &unused, e);
}

static int check_digest(struct span spki, const struct kms_sign_request *rq, const struct kms_signature *s, struct err *e)
{
    uint8_t digest[SCHEME_DIGEST_MAX];
    const struct scheme *scheme;
    size_t len = hash_length(rq->hash);

    if (hex_decode(rq->digest, strlen(rq->digest), digest, len))
        return err_set(e, ERR_BAD_DIGEST, "the digest is none");
    for (size_t n = 0; (scheme = scheme_at(n)); n++)
        if (!strcmp(scheme->scheme, s->scheme) && spki_is(spki, scheme->algorithm))
            return spki_verify_digest(spki, scheme, span_of(digest, len), span_of(s->block, s->block_len), e)
                       ? err_set(e, ERR_SIGNATURE_INVALID, "it is not one of the given key over the digest")
                       : 0;
    return err_set(e, ERR_SIGNATURE_INVALID, "no key of the given kind has the scheme %s", s->scheme);
}

int sign_check(struct context *c, struct span spki, const struct kms_sign_request *rq, const struct kms_signature *s)
{
    struct err why = {0};

    if (!spki.len || !(s->envelope ? check_statement(spki, rq, s, &why) : check_digest(spki, rq, s, &why)))
        return 0;
    err_context(&why, "the service's signature does not verify with %s, nothing was written", config_text(c, OPT_PUB));
    kms_fail(&c->error, KMS_REFUSED, &why);
    memcpy(c->error.request_id, s->request_id, sizeof(c->error.request_id));
    return -1;
}
