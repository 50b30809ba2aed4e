/* Decides offline whether an envelope vouches for an artifact. */
#include "client/verify.h"

#include <string.h>

#include "base/fsutil.h"
#include "base/timefmt.h"
#include "base/x509.h"
#include "client/call.h"
#include "client/dsse.h"
#include "client/release.h"

#define KEY_MAX (64u << 10)
#define PEM_START "-----BEGIN"

static int expect_text(const char *wanted, const char *got, const char *what, struct err *e)
{
    if (!wanted || strcmp(wanted, got) == 0)
        return 0;
    return err_set(e, ERR_BAD_REQUEST, "the statement is for the %s %s, not %s", what, got, wanted);
}

static int check_artifact(const struct kms_release *r, const struct kms_expect *x, struct err *e)
{
    if (x->sha256 && strcmp(x->sha256, r->sha256) != 0)
        return err_set(e, ERR_BAD_DIGEST, "the file's SHA-256 is %s, the statement is for %s", x->sha256, r->sha256);
    if (x->size >= 0 && r->size >= 0 && x->size != r->size)
        return err_set(e, ERR_BAD_DIGEST, "the file has %lld bytes, the statement is for %lld", (long long)x->size, (long long)r->size);
    return 0;
}

static int check_validity(const struct kms_release *r, const struct kms_expect *x, struct err *e)
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

int verify_envelope(struct span envelope, struct span spki, const struct kms_expect *x, struct kms_release *out, struct err *e)
{
    DSSE_AUTO d = {0};
    struct kms_release r;

    if (dsse_parse(envelope, &d, e) || dsse_verify(&d, spki, e) || release_parse(buf_span(&d.payload), &r, e))
        return -1;
    if (check_artifact(&r, x, e) || check_validity(&r, x, e))
        return -1;
    if (expect_text(x->app, r.app, "app", e) || expect_text(x->channel, r.channel, "channel", e) ||
        expect_text(x->version, r.version, "version", e) || expect_text(x->name, r.name, "name", e))
        return -1;
    *out = r;
    return 0;
}

/* PEM or DER. */
static int take_key(struct span text, struct buf *der, struct err *e)
{
    if (text.len >= strlen(PEM_START) && memcmp(text.data, PEM_START, strlen(PEM_START)) == 0)
        return pem_to_der(text, "PUBLIC KEY", der, e) ? err_context(e, "public key") : 0;
    buf_put(der, text.data, text.len);
    return buf_ok(der) || !text.len ? err_set(e, ERR_BAD_REQUEST, "the public key has 0 or more than %u bytes", KEY_MAX) : 0;
}

int kms_verify(const void *envelope, size_t envelope_len, const void *public_key, size_t public_key_len, const struct kms_expect *x,
               struct kms_release *out, struct kms_error *e)
{
    BUF_AUTO spki = BUF_INIT(KEY_MAX);
    struct kms_expect with_clock = *x;
    struct err why = {0};

    if (!x->sha256)
        return kms_fail_text(e, KMS_USAGE, "the SHA-256 of the artifact is needed");
    if (!with_clock.now)
        with_clock.now = clock_wall_us();
    if (take_key(span_of(public_key, public_key_len), &spki, &why) ||
        verify_envelope(span_of(envelope, envelope_len), buf_span(&spki), &with_clock, out, &why))
        return kms_fail(e, KMS_REFUSED, &why);
    return 0;
}
