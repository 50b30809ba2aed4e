/* kmsctl policy: reading, checking and applying the policy. */
#include "policy/policy.h"

#include <string.h>

#include "client/api.h"
#include "client/config.h"
#include "client/output.h"

/* The file's text, when it loads as a policy here already. */
static int load_local(struct context *c, struct buf *text)
{
    struct err why = {0};
    struct policy *p;

    if (api_file(c, c->args.word[0], POLICY_TEXT_MAX, text))
        return -1;
    p = policy_load(c->args.word[0], buf_span(text), &why);
    if (!p)
        return kms_fail(&c->error, KMS_REFUSED, &why);
    policy_free(p);
    return 0;
}

static int send_policy(struct context *c, const char *method, const char *target, bool change, const struct buf *text, struct kms_answer *out)
{
    struct kms_request rq = {.method = method, .target = target, .door = KMS_DOOR_ADMIN, .content_type = "application/yaml",
                             .body = buf_span(text), .ssh_signed = change};

    return api_send_change(c, &rq, out);
}

int cmd_policy_apply(struct context *c)
{
    BUF_AUTO text = {0};
    KMS_ANSWER_AUTO a = {0};

    if (load_local(c, &text) || config_connect(c) || send_policy(c, "PUT", "/v1/policy", true, &text, &a))
        return -1;
    output_object(c, a.json);
    return 0;
}

int cmd_policy_check(struct context *c)
{
    BUF_AUTO text = {0};
    KMS_ANSWER_AUTO a = {0};
    char sha256[SHA256_HEX];

    if (load_local(c, &text))
        return -1;
    if (config_text(c, OPT_REMOTE) && (config_connect(c) || send_policy(c, "POST", "/v1/policy/check", false, &text, &a)))
        return -1;
    sha256_hex(text.data, text.len, sha256);
    JSON_AUTO *j = json_pack("{s:b, s:s, s:b}", "valid", 1, "sha256", sha256, "remote", a.json != NULL);
    output_object(c, j);
    return 0;
}

int cmd_policy_show(struct context *c)
{
    KMS_ANSWER_AUTO a = {0};
    const char *text;

    if (config_connect(c) || api_get(c, KMS_DOOR_ADMIN, "/v1/policy", &a))
        return -1;
    text = json_string_value(json_object_get(a.json, "policy"));
    if (!text)
        return kms_fail_text(&c->error, KMS_REFUSED, "the service's answer holds no policy");
    /* The YAML itself unless JSON was asked for by name: `kmsctl policy show > policy.yaml` is how a policy is edited. */
    if (!config_text(c, OPT_OUTPUT) || !c->json)
        return output_block(c, span_str(text));
    output_object(c, a.json);
    return 0;
}
