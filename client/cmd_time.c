/* kmsctl time: what is to become of a step of the service's clock. */
#include <string.h>

#include "base/num.h"
#include "client/api.h"
#include "client/config.h"
#include "client/output.h"

int cmd_time_confirm(struct context *c)
{
    const char *text, *reason;
    KMS_ANSWER_AUTO a = {0};
    struct err why = {0};
    uint64_t seq;

    if (config_need(c, OPT_SEQ, &text) || config_need(c, OPT_REASON, &reason))
        return -1;
    if (num_parse_u64(text, strlen(text), 0, JSON_INT_MAX, &seq)) {
        err_set(&why, ERR_BAD_REQUEST, "--seq takes the number of a record, not '%s'", text);
        return kms_fail(&c->error, KMS_USAGE, &why);
    }
    JSON_AUTO *body = json_pack("{s:s, s:I}", "reason", reason, "seq", (json_int_t)seq);
    if (config_connect(c) || api_change(c, "/v1/time/confirm", body, &a))
        return -1;
    output_object(c, a.json);
    return 0;
}
