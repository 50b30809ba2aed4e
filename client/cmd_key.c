/* kmsctl key: release keys. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/sshsig.h"
#include "base/x509.h"
#include "client/api.h"
#include "client/config.h"
#include "client/output.h"

#define PUBLIC_MAX (64u << 10)
#define JWKS_MAX (4u << 20)
#define FOLLOW_MAX 600 /* looks, two a second */

/* The service still works on it: looks until it is done. The answer is the key as it stands then. */
static int follow(struct context *c, const char *name, struct kms_answer *a)
{
    const struct timespec pause = {.tv_nsec = 500 * 1000000L};
    char target[KMS_HEADER_MAX], key[128];
    const char *state = "running";

    snprintf(target, sizeof(target), "%s", a->location);
    if (strncmp(target, "/v1/operations/", 15) || strspn(target + 15, "0123456789abcdef") != strlen(target + 15))
        return kms_fail_text(&c->error, KMS_REFUSED, "the service names no operation to look at");
    output_note("the token makes the key; this takes a while");
    for (unsigned looks = 0; strcmp(state, "running") == 0; looks++) {
        if (looks == FOLLOW_MAX)
            return kms_fail_text(&c->error, KMS_UNREACHABLE, "key %s is still being made; 'kmsctl key show %s' will tell when it is there", name, name);
        nanosleep(&pause, NULL);
        kms_answer_free(a);
        if (api_get(c, KMS_DOOR_ADMIN, target, a))
            return -1;
        state = json_string_value(json_object_get(a->json, "state"));
        if (!state)
            return kms_fail_text(&c->error, KMS_REFUSED, "the service's answer is no operation");
    }
    if (strcmp(state, "done") != 0) {
        const char *detail = json_string_value(json_object_get(json_object_get(a->json, "problem"), "detail"));

        return kms_fail_text(&c->error, KMS_REFUSED, "key %s was not made: %s", name, detail ? detail : "the service does not say why");
    }
    kms_answer_free(a);
    snprintf(key, sizeof(key), "/v1/keys/%s", name);
    return api_get(c, KMS_DOOR_ADMIN, key, a);
}

int cmd_key_create(struct context *c)
{
    const char *name, *algorithm = config_text(c, OPT_ALGORITHM), *scheme = config_text(c, OPT_SCHEME);
    KMS_ANSWER_AUTO a = {0};

    if (api_name(c, 0, "the key's name", &name) || config_connect(c))
        return -1;
    JSON_AUTO *body = json_pack("{s:s, s:s, s:s}", "name", name, "algorithm", algorithm ? algorithm : "p256", "scheme",
                                scheme ? scheme : "statement");
    if (api_change(c, "/v1/keys", body, &a) || (a.http == 202 && follow(c, name, &a)))
        return -1;
    output_object(c, a.json);
    return 0;
}

int cmd_key_list(struct context *c)
{
    static const struct column columns[] = {{"NAME", "name"},   {"VERSION", "version"}, {"ALGORITHM", "algorithm"}, {"SCHEME", "scheme"},
                                            {"STATE", "state"}, {"COMPROMISED", "compromised"}, {"CREATED", "created"}, {NULL, NULL}};

    if (config_connect(c))
        return -1;
    JSON_AUTO *items = api_list(c, KMS_DOOR_ANY, "/v1/keys");
    if (!items)
        return -1;
    output_list(c, items, columns);
    return 0;
}

int cmd_key_show(struct context *c)
{
    KMS_ANSWER_AUTO a = {0};
    const char *name;
    char target[128];

    if (api_name(c, 0, "the key's name", &name) || config_connect(c))
        return -1;
    snprintf(target, sizeof(target), "/v1/keys/%s", name);
    if (api_get(c, KMS_DOOR_ANY, target, &a))
        return -1;
    output_object(c, a.json);
    return 0;
}

/* What the service sent is read and written again: what comes out is a public key and nothing else. */
static int rewrite_pem(struct span in, struct buf *out, struct err *e)
{
    BUF_AUTO der = BUF_INIT(PUBLIC_MAX);

    if (pem_to_der(in, "PUBLIC KEY", &der, e))
        return -1;
    der_to_pem(out, "PUBLIC KEY", buf_span(&der));
    return 0;
}

static int rewrite_jwk(struct span in, struct buf *out, struct err *e)
{
    JSON_AUTO *j = json_read_object(in.data, in.len, PUBLIC_MAX, e);

    if (!j)
        return -1;
    json_canonical(out, j);
    buf_putc(out, '\n');
    return 0;
}

static int rewrite_ssh(struct span in, struct buf *out, struct err *e)
{
    char line[SSH_KEY_TEXT_MAX + 1], key[SSH_KEY_TEXT_MAX];

    while (in.len && in.data[in.len - 1] == '\n')
        in.len--;
    if (in.len >= sizeof(line) || memchr(in.data ? in.data : (const uint8_t *)"", 0, in.len))
        return err_set(e, ERR_BAD_REQUEST, "not an SSH public key");
    snprintf(line, sizeof(line), "%.*s", (int)in.len, in.data ? (const char *)in.data : "");
    if (ssh_key_normalise(line, key, sizeof(key), e))
        return -1;
    buf_printf(out, "%s\n", key);
    return 0;
}

static const struct format {
    const char *name;
    int (*rewrite)(struct span in, struct buf *out, struct err *e);
} formats[] = {{"pem", rewrite_pem}, {"jwk", rewrite_jwk}, {"jwks", rewrite_jwk}, {"ssh", rewrite_ssh}};

static const struct format *find_format(struct context *c)
{
    const char *name = config_text(c, OPT_FORMAT) ? config_text(c, OPT_FORMAT) : "pem";

    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
        if (strcmp(formats[i].name, name) == 0)
            return &formats[i];
    kms_fail_text(&c->error, KMS_USAGE, "--format is pem, jwk, jwks or ssh, not '%s'", name);
    return NULL;
}

int cmd_key_public(struct context *c)
{
    const struct format *f = find_format(c);
    BUF_AUTO out = BUF_INIT(PUBLIC_MAX);
    KMS_ANSWER_AUTO a = {0};
    struct err why = {0};
    const char *name;
    char target[128];

    if (!f || api_name(c, 0, "the key's name", &name) || config_connect(c))
        return -1;
    snprintf(target, sizeof(target), "/v1/keys/%s/public?format=%s", name, f->name);
    struct kms_request rq = {.method = "GET", .target = target, .door = KMS_DOOR_ANY, .plain = true};
    if (kms_call(c->kms, &rq, &a, &c->error))
        return -1;
    if (f->rewrite(buf_span(&a.body), &out, &why) || buf_ok(&out)) {
        err_context(&why, "the service's answer is no public key in the format %s", f->name);
        return kms_fail(&c->error, KMS_REFUSED, &why);
    }
    return output_block(c, buf_span(&out));
}

int cmd_key_jwks(struct context *c)
{
    struct kms_request rq = {.method = "GET", .target = "/v1/jwks", .door = KMS_DOOR_ANY, .plain = true};
    BUF_AUTO out = BUF_INIT(JWKS_MAX);
    KMS_ANSWER_AUTO a = {0};
    struct err why = {0};

    if (config_connect(c) || kms_call(c->kms, &rq, &a, &c->error))
        return -1;
    JSON_AUTO *set = json_read_object(a.body.data, a.body.len, JWKS_MAX, &why);
    if (!set) {
        err_context(&why, "the service's answer is no set of keys");
        return kms_fail(&c->error, KMS_REFUSED, &why);
    }
    json_canonical(&out, set);
    buf_putc(&out, '\n');
    return output_block(c, buf_span(&out));
}
