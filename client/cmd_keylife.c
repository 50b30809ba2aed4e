/* kmsctl key: what becomes of a key after its creation. */
#include <stdio.h>
#include <string.h>

#include "base/num.h"
#include "client/api.h"
#include "client/config.h"
#include "client/output.h"

/* Takes body. */
static int send(struct context *c, const char *verb, json_t *body)
{
    KMS_ANSWER_AUTO a = {0};
    JSON_AUTO *owned = body;
    const char *name;
    char target[128];

    if (api_name(c, 0, "the key's name", &name) || config_connect(c))
        return -1;
    snprintf(target, sizeof(target), "/v1/keys/%s/%s", name, verb);
    if (api_change(c, target, owned, &a))
        return -1;
    output_object(c, a.json);
    return 0;
}

static int change(struct context *c, const char *verb)
{
    const char *reason;

    return config_need(c, OPT_REASON, &reason) ? -1 : send(c, verb, json_pack("{s:s}", "reason", reason));
}

int cmd_key_suspend(struct context *c)
{
    return change(c, "suspend");
}

int cmd_key_resume(struct context *c)
{
    return change(c, "resume");
}

int cmd_key_retire(struct context *c)
{
    return change(c, "retire");
}

int cmd_key_compromise(struct context *c)
{
    return change(c, "compromise");
}

int cmd_key_restore(struct context *c)
{
    return change(c, "restore");
}

int cmd_key_destroy(struct context *c)
{
    static const struct {
        enum opt_code option;
        const char *member;
    } delays[] = {{OPT_DELAY_HOURS, "delay_hours"}, {OPT_DELAY_SECONDS, "delay_seconds"}};
    const char *reason;

    if (config_need(c, OPT_REASON, &reason))
        return -1;
    JSON_AUTO *body = json_pack("{s:s}", "reason", reason);
    for (size_t i = 0; i < sizeof(delays) / sizeof(delays[0]); i++) {
        const char *text = config_text(c, delays[i].option);
        uint64_t n;

        if (!text)
            continue;
        if (num_parse_u64(text, strlen(text), 1, UINT32_MAX, &n))
            return kms_fail_text(&c->error, KMS_USAGE, "--%s takes a number, not '%s'", option_table[delays[i].option].name, text);
        json_object_set_new(body, delays[i].member, json_integer((json_int_t)n));
    }
    return send(c, "destroy", json_incref(body));
}
