/* kmsctl renew: a new certificate for the key that one has, or for a signing request. */
#include <stdio.h>
#include <string.h>

#include "client/api.h"
#include "client/certfile.h"
#include "client/config.h"
#include "client/csr.h"
#include "client/output.h"

#define PEM_MAX (64u << 10)

struct renewal {
    const char *name;   /* of the identity; NULL = one's own */
    const char *out;    /* where the certificate goes */
    struct buf csr;
    uint64_t days;
};

/* For another key than the one in use the old certificate must stay where it is until both files are in place. */
static int plan(struct context *c, struct renewal *n)
{
    const char *csr = c->args.value[OPT_CSR], *key = NULL;
    struct err why = {0};

    n->name = c->args.n_words ? c->args.word[0] : NULL;
    n->out = c->args.value[OPT_CERT_OUT];
    n->csr = BUF_INIT(PEM_MAX);
    if (config_number(c, OPT_DAYS, 1, 398, 90, &n->days))
        return -1;
    if (csr)
        return n->out ? api_pem(c, csr, "CERTIFICATE REQUEST", &n->csr, NULL)
                      : kms_fail_text(&c->error, KMS_USAGE, "--csr needs --cert-out: the certificate is for another key than yours");
    if (n->name)
        return kms_fail_text(&c->error, KMS_USAGE, "for another identity --csr and --cert-out are needed");
    if (!n->out && config_need(c, OPT_CLIENT_CERT, &n->out))
        return -1;
    if (config_need(c, OPT_KEY_FILE, &key))
        return -1;
    return csr_make(key, &n->csr, &why) ? kms_fail(&c->error, KMS_REFUSED, &why) : 0;
}

/* A job has a route of its own, a person signs. */
static int ask(struct context *c, const struct renewal *n, const json_t *body, struct kms_answer *a)
{
    KMS_ANSWER_AUTO me = {0};
    BUF_AUTO text = BUF_INIT(2 * PEM_MAX);
    const json_t *identity;
    const char *name = n->name, *kind;
    char target[256];

    if (!name) {
        if (api_get(c, KMS_DOOR_ANY, "/v1/whoami", &me))
            return -1;
        identity = json_object_get(me.json, "identity");
        name = json_string_value(json_object_get(identity, "name"));
        if (!name || name_check(name, "name", NULL))
            return kms_fail_text(&c->error, KMS_REFUSED, "the service does not say who you are");
        kind = json_string_value(json_object_get(identity, "kind"));
        if (!kind || strcmp(kind, "human")) {
            json_canonical(&text, body);
            struct kms_request rq = {.method = "POST", .target = "/v1/renew", .door = KMS_DOOR_CI, .body = buf_span(&text)};

            return kms_call(c->kms, &rq, a, &c->error);
        }
    }
    snprintf(target, sizeof target, "/v1/identities/%s/credentials", name);
    return api_change(c, target, body, a);
}

int cmd_renew(struct context *c)
{
    KMS_ANSWER_AUTO a = {0};
    struct renewal n = {0};
    JSON_AUTO *body = NULL;
    int failed = plan(c, &n) || certfile_check(c, n.out);

    if (!failed)
        body = json_pack("{s:s, s:I}", "csr", buf_str(&n.csr), "days", (json_int_t)n.days);
    failed = failed || config_connect(c) || ask(c, &n, body, &a);
    if (!failed) {
        failed = certfile_keep(c, n.out, buf_str(&n.csr), a.json);
        output_object(c, a.json);
    }
    buf_free(&n.csr);
    return failed ? -1 : 0;
}
