/* kmsctl key: what becomes of a key after its creation. */
#include <stdio.h>

#include "client/api.h"
#include "client/config.h"
#include "client/output.h"

static int change(struct context *c, const char *verb)
{
    KMS_ANSWER_AUTO a = {0};
    const char *name, *reason;
    char target[128];

    if (api_name(c, 0, "the key's name", &name) || config_need(c, OPT_REASON, &reason) || config_connect(c))
        return -1;
    snprintf(target, sizeof(target), "/v1/keys/%s/%s", name, verb);
    JSON_AUTO *body = json_pack("{s:s}", "reason", reason);
    if (api_change(c, target, body, &a))
        return -1;
    output_object(c, a.json);
    return 0;
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
