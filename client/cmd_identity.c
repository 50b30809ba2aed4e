/* kmsctl identity: listing, showing, disabling and enabling identities. */
#include <stdio.h>

#include "client/api.h"
#include "client/config.h"
#include "client/output.h"

int cmd_identity_list(struct context *c)
{
    static const struct column columns[] = {{"NAME", "name"},       {"KIND", "kind"}, {"STATE", "state"},
                                            {"CREATED", "created"}, {"SSH", "ssh"},   {NULL, NULL}};

    if (config_connect(c))
        return -1;
    JSON_AUTO *items = api_list(c, KMS_DOOR_ADMIN, "/v1/identities");
    if (!items)
        return -1;
    output_list(c, items, columns);
    return 0;
}

int cmd_identity_show(struct context *c)
{
    KMS_ANSWER_AUTO a = {0};
    const char *name;
    char target[128];

    if (api_name(c, 0, "the identity's name", &name) || config_connect(c))
        return -1;
    snprintf(target, sizeof(target), "/v1/identities/%s", name);
    if (api_get(c, KMS_DOOR_ADMIN, target, &a))
        return -1;
    output_object(c, a.json);
    return 0;
}

static int set_state(struct context *c, const char *verb)
{
    KMS_ANSWER_AUTO a = {0};
    const char *name, *reason;
    char target[128];

    if (api_name(c, 0, "the identity's name", &name) || config_need(c, OPT_REASON, &reason) || config_connect(c))
        return -1;
    snprintf(target, sizeof(target), "/v1/identities/%s/%s", name, verb);
    JSON_AUTO *body = json_pack("{s:s}", "reason", reason);
    if (api_change(c, target, body, &a))
        return -1;
    output_object(c, a.json);
    return 0;
}

int cmd_identity_disable(struct context *c)
{
    return set_state(c, "disable");
}

int cmd_identity_enable(struct context *c)
{
    return set_state(c, "enable");
}
