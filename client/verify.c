/* Decides offline whether an envelope vouches for an artifact. */
#include "client/kms.h"

#include <string.h>

#include "client/dsse.h"

static int expect_text(const char *wanted, const char *got, const char *what, struct err *e)
{
    if (!wanted || strcmp(wanted, got) == 0)
        return 0;
    return err_set(e, ERR_BAD_REQUEST, "the statement is for the %s %s, not %s", what, got, wanted);
}

static int check_artifact(const struct release *r, const struct kms_expect *x, struct err *e)
{
    if (x->sha256 && strcmp(x->sha256, r->sha256) != 0)
        return err_set(e, ERR_BAD_DIGEST, "the file's SHA-256 is %s, the statement is for %s", x->sha256, r->sha256);
    if (x->size >= 0 && r->size >= 0 && x->size != r->size)
        return err_set(e, ERR_BAD_DIGEST, "the file has %lld bytes, the statement is for %lld", (long long)x->size, (long long)r->size);
    return 0;
}

static int check_validity(const struct release *r, const struct kms_expect *x, struct err *e)
{
    int64_t expires;

    if (strcmp(r->environment, "production") != 0 && !x->allow_development)
        return err_set(e, ERR_FORBIDDEN, "the statement comes from a development server (environment: %s); --allow-dev accepts it for tests",
                       r->environment);
    if (!r->expires[0])
        return 0;
    if (time_parse(r->expires, &expires) || x->now > expires)
        return err_set(e, ERR_FORBIDDEN, "the statement expired at %s", r->expires);
    return 0;
}

int kms_verify_envelope(struct span envelope, const struct kms_expect *x, struct release *out, struct err *e)
{
    DSSE_AUTO d = {0};
    struct release r;

    if (dsse_parse(envelope, &d, e) || dsse_verify(&d, x->spki, e) || release_parse(buf_span(&d.payload), &r, e))
        return -1;
    if (check_artifact(&r, x, e) || check_validity(&r, x, e))
        return -1;
    if (expect_text(x->app, r.app, "app", e) || expect_text(x->channel, r.channel, "channel", e) ||
        expect_text(x->version, r.version, "version", e) || expect_text(x->name, r.name, "name", e))
        return -1;
    *out = r;
    return 0;
}
