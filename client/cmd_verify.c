/* kmsctl verify and statement: envelopes, offline. */
#include <stdio.h>
#include <string.h>

#include "base/fsutil.h"
#include "base/x509.h"
#include "client/api.h"
#include "client/config.h"
#include "client/digest.h"
#include "client/dsse.h"
#include "client/output.h"
#include "client/release.h"
#include "client/verify.h"

static int refuse(struct context *c, const struct err *why)
{
    return kms_fail(&c->error, KMS_REFUSED, why);
}

/* Only what is on the command line counts here: a verifier's expectations do not come from an environment made for signing. */
static void expectations(const struct context *c, struct kms_expect *x)
{
    x->app = c->args.value[OPT_APP];
    x->channel = c->args.value[OPT_CHANNEL];
    x->version = c->args.value[OPT_VERSION];
    x->name = c->args.value[OPT_NAME];
    x->allow_development = c->args.value[OPT_ALLOW_DEV] != NULL;
    x->now = clock_wall_us();
}

int cmd_verify(struct context *c)
{
    BUF_AUTO envelope = {0}, spki = {0};
    char sha256[SCHEME_DIGEST_HEX];
    struct kms_expect x = {.sha256 = sha256};
    struct kms_release r;
    struct err why = {0};
    const char *pub;

    if (config_need(c, OPT_PUB, &pub) || api_pem(c, pub, "PUBLIC KEY", NULL, &spki) ||
        api_file(c, c->args.word[1], DSSE_ENVELOPE_MAX, &envelope))
        return -1;
    if (digest_file(c->args.word[0], "sha256", sha256, &x.size, &why))
        return refuse(c, &why);
    expectations(c, &x);
    if (verify_envelope(buf_span(&envelope), buf_span(&spki), &x, &r, &why)) {
        err_context(&why, "%s", c->args.word[1]);
        return refuse(c, &why);
    }
    JSON_AUTO *j = release_to_json(&r);
    if (j)
        json_object_set_new(j, "verified", json_true());
    output_object(c, j);
    return 0;
}

static int load(struct context *c, struct dsse *d)
{
    BUF_AUTO text = {0};
    struct err why = {0};

    if (api_file(c, c->args.word[0], DSSE_ENVELOPE_MAX, &text))
        return -1;
    if (!dsse_parse(buf_span(&text), d, &why))
        return 0;
    err_context(&why, "%s", c->args.word[0]);
    return refuse(c, &why);
}

int cmd_statement_pae(struct context *c)
{
    const char *file = config_text(c, OPT_SIGNATURE_OUT);
    BUF_AUTO pae = BUF_INIT(DSSE_PAYLOAD_MAX + 128);
    DSSE_AUTO d = {0};
    struct err why = {0};

    if (load(c, &d))
        return -1;
    dsse_pae(&d, &pae);
    if (buf_ok(&pae))
        return kms_fail_text(&c->error, KMS_REFUSED, "out of memory");
    if (file && file_write_atomic(file, d.signature.data, d.signature.len, 0644, &why))
        return refuse(c, &why);
    return output_bytes(c, buf_span(&pae));
}

int cmd_statement_show(struct context *c)
{
    DSSE_AUTO d = {0};
    struct kms_release r;
    struct err why = {0};

    if (load(c, &d))
        return -1;
    if (release_parse(buf_span(&d.payload), &r, &why))
        return refuse(c, &why);
    JSON_AUTO *j = release_to_json(&r);
    if (j) {
        json_object_set_new(j, "keyid", json_string(d.keyid));
        json_object_set_new(j, "verified", json_false());
    }
    output_object(c, j);
    output_note("the signature was not checked; that is what 'kmsctl verify' does");
    return 0;
}
