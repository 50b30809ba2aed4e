/* kmsctl release: what was released. */
#include "client/api.h"
#include "client/config.h"
#include "client/output.h"

int cmd_release_withdraw(struct context *c)
{
    const char *app, *channel, *version, *reason;
    KMS_ANSWER_AUTO a = {0};
    struct err why = {0};

    if (config_need(c, OPT_APP, &app) || config_need(c, OPT_CHANNEL, &channel) || config_need(c, OPT_VERSION, &version) ||
        config_need(c, OPT_REASON, &reason))
        return -1;
    if (app_check(app, "--app", &why) || name_check(channel, "--channel", &why) || version_check(version, &why))
        return kms_fail(&c->error, KMS_USAGE, &why);
    JSON_AUTO *body = json_pack("{s:s, s:s, s:s, s:s}", "app", app, "channel", channel, "version", version, "reason", reason);
    if (config_connect(c) || api_change(c, "/v1/releases/withdraw", body, &a))
        return -1;
    output_object(c, a.json);
    return 0;
}
