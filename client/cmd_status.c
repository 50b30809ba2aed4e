/* kmsctl status, whoami: what the service says of itself and of you. */
#include "client/api.h"
#include "client/config.h"
#include "client/output.h"

static int show(struct context *c, const char *target)
{
    KMS_ANSWER_AUTO a = {0};

    if (config_connect(c) || api_get(c, KMS_DOOR_ANY, target, &a))
        return -1;
    output_object(c, a.json);
    return 0;
}

int cmd_status(struct context *c)
{
    return show(c, "/v1/status");
}

int cmd_whoami(struct context *c)
{
    return show(c, "/v1/whoami");
}
