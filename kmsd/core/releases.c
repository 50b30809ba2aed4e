/* Withdraws a botched release: its version can no longer be signed. */
#include <string.h>

#include "kmsd/core/internal.h"

int releases_withdraw(struct core *c, struct request *rq, struct err *e)
{
    struct sign_request *s = &rq->sign;
    struct json_reader r;
    const char *reason;
    const struct mark *m;
    json_t *record;
    int verdict;

    if (request_json(rq, &r, e) || json_get_str(&r, "app", 1024, &s->app, e) || json_get_str(&r, "channel", 1024, &s->channel, e) ||
        json_get_str(&r, "version", 1024, &s->version, e) || json_get_str(&r, "reason", 500, &reason, e) || json_done(&r, e) ||
        reason_check(reason, e) || app_check(s->app, "app", e) || name_check(s->channel, "channel", e) || version_check(s->version, e) ||
        authorise(c, rq, NULL, s->app, s->channel, e))
        return -1;
    verdict = idem_check(c, rq, e);
    if (verdict)
        return verdict < 0 ? -1 : 0;
    m = state_mark(c->state, s->app, s->channel);
    if (!m || !m->version[0])
        return err_set(e, ERR_NOT_FOUND, "nothing was signed for channel %s of %s", s->channel, s->app);
    if (strcmp(m->version, s->version))
        return err_set(e, ERR_NOT_FOUND, "channel %s of %s is at %s; only the newest version can be withdrawn", s->channel, s->app, m->version);
    if (m->withdrawn)
        return err_set(e, ERR_RELEASE_WITHDRAWN, "version %s is withdrawn already", s->version);
    record = record_change(c, rq, "release.withdraw", "ok", e);
    if (!record)
        return -1;
    json_object_set_new(record, "artifact", record_artifact(s->app, s->channel, s->version));
    record_text(record, "reason", reason);
    return commit_answer(c, rq, record, e);
}
