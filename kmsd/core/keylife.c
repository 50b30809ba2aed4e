/* The life of a key after its creation: what a person changes of its state, and what follows from that for signatures. */
#include "audit/state/keylife.h"

#include <string.h>

#include "base/timefmt.h"
#include "kmsd/core/internal.h"

/* What the caller of a key in that state can do. */
static const char *const WAY_OUT[] = {
    [KEY_ACTIVE] = "",
    [KEY_SUSPENDED] = "an administrator can resume it: kmsctl key resume",
    [KEY_RETIRED] = "it never signs again; sign with another key",
    [KEY_DESTROYING] = "it never signs unless its destruction is called off; sign with another key",
    [KEY_DESTROYED] = "sign with another key",
};

int keylife_usable(const struct key *k, struct err *e)
{
    if (!k->active)
        return err_set(e, ERR_KEY_NOT_ACTIVE, "key %s is still being created", k->name);
    if (k->compromised[0])
        return err_set(e, ERR_KEY_COMPROMISED, "key %s was marked compromised on %s; what it signed is not handed out any more: sign a newer version with another key",
                       k->name, k->compromised);
    if (!key_signs(k))
        return err_set(e, ERR_KEY_NOT_ACTIVE, "key %s is %s since %s; %s", k->name, key_state_name(k->state), k->since, WAY_OUT[k->state]);
    return 0;
}

int keylife_answerable(const struct core *c, const char *key, struct err *e)
{
    const struct key *k = state_key(c->state, key);

    return k ? keylife_usable(k, e) : err_set(e, ERR_INTERNAL, "the key of a recorded answer does not exist");
}

/* How long a destruction is put off. Whole days give everybody time to call it off; tests cannot wait so long. */
#define DELAY_HOURS_MIN 24
#define DELAY_HOURS_MAX 8760
#define HOUR_US (3600 * TIME_SECOND_US)

static int parse(struct request *rq, const char **reason, struct err *e)
{
    struct json_reader r;

    return request_json(rq, &r, e) || json_get_str(&r, "reason", 500, reason, e) || json_done(&r, e) ? -1 : reason_check(*reason, e);
}

static int parse_destroy(const struct core *c, struct request *rq, const char **reason, int64_t *delay, struct err *e)
{
    struct json_reader r;
    int64_t hours, seconds;

    if (request_json(rq, &r, e) || json_get_str(&r, "reason", 500, reason, e) ||
        json_opt_int(&r, "delay_hours", DELAY_HOURS_MIN, DELAY_HOURS_MAX, 0, &hours, e) ||
        json_opt_int(&r, "delay_seconds", 1, DELAY_HOURS_MAX * 3600, 0, &seconds, e) || json_done(&r, e) || reason_check(*reason, e))
        return -1;
    if (seconds && hours)
        return err_set(e, ERR_BAD_REQUEST, "delay_hours and delay_seconds exclude each other");
    if (seconds && strcmp(c->state->mode, "dev"))
        return err_set(e, ERR_BAD_REQUEST, "delay_seconds is for development instances only; delay_hours is %d at least", DELAY_HOURS_MIN);
    *delay = seconds ? seconds * TIME_SECOND_US : (hours ? hours : DELAY_HOURS_MIN) * HOUR_US;
    return 0;
}

/* Signing lanes hold the keys that sign, and no others. */
static void tell_lanes(struct core *c, const struct key *k, bool signed_before)
{
    if (signed_before && !key_signs(k))
        lanes_unload_key(c, k);
    else if (!signed_before && key_signs(k))
        lanes_load_key(c, k);
}

/* The one road of every change. delay: how far ahead a destruction is, else 0. */
static int change(struct core *c, struct request *rq, const char *reason, int64_t delay, struct err *e)
{
    const struct key *k = key_named(c, rq, e);
    int verdict = k ? idem_check(c, rq, e) : -1;
    char due[TIME_TEXT];
    enum key_state to;
    json_t *record;
    bool signs;

    if (verdict)
        return verdict < 0 ? -1 : 0;
    if (key_change(k, rq->route->event, &to, e))
        return -1;
    record = record_change(c, rq, rq->route->event, "ok", e);
    if (!record)
        return -1;
    json_object_set_new(record, "key", record_key(k->name, k->version));
    record_text(record, "reason", reason);
    json_object_set_new(record, "detail", json_pack("{s:s}", "state", key_state_name(to)));
    if (delay) {
        time_format(c->now + delay, due);
        json_object_set_new(json_object_get(record, "detail"), "due", json_string(due));
    }
    signs = key_signs(k);
    if (commit(c, record, e))
        return -1;
    tell_lanes(c, k, signs);
    c->compromises += rq->route->action == POLICY_KEY_COMPROMISE;
    reply_committed(c, rq);
    return 0;
}

int keylife_change(struct core *c, struct request *rq, struct err *e)
{
    const char *reason;

    return parse(rq, &reason, e) ? -1 : change(c, rq, reason, 0, e);
}

int keylife_destroy(struct core *c, struct request *rq, struct err *e)
{
    const char *reason;
    int64_t delay;

    return parse_destroy(c, rq, &reason, &delay, e) ? -1 : change(c, rq, reason, delay, e);
}
