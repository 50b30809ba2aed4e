/* What the service says of itself and of the caller. */
#include <string.h>

#include "audit/state/keylife.h"
#include "kmsd/core/internal.h"

static const char *const LANE_STATE[] = {[LANE_DOWN] = "down",     [LANE_STARTING] = "starting", [LANE_AWAY] = "away",
                                         [LANE_SEALED] = "sealed", [LANE_PROVING] = "proving",   [LANE_READY] = "ready"};

static json_t *lanes_view(const struct core *c)
{
    json_t *list = json_array();

    for (unsigned n = 0; n < c->n_lanes; n++)
        json_array_append_new(list, json_pack("{s:i, s:s, s:s}", "index", (int)c->lane[n].index, "role",
                                              c->lane[n].role == CHILD_LANE_ADMIN ? "admin" : "sign", "state", LANE_STATE[c->lane[n].state]));
    return list;
}

static bool count_active(void *ctx, struct key *k)
{
    *(int *)ctx += key_signs(k);
    return true;
}

int status_show(struct core *c, struct request *rq, struct err *e)
{
    static const char *const none[] = {NULL};
    const struct state *s = c->state;
    const char *anchor = c->anchor.problem[0] ? c->anchor.problem : c->anchor.useless ? "in its file only: the token keeps no data objects" : "kept";

    int active = 0;

    if (query_check(rq, none, e) || authorise(c, rq, NULL, NULL, NULL, e))
        return -1;
    state_each_key(s, "", count_active, &active);
    reply_json(c, rq, 200,
               json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:{s:i}, s:o, s:s, s:s, s:s, s:o}", "anchor", anchor, "instance", s->instance, "origin", s->origin, "mode",
                         s->mode, "version",
                         c->start.version, "log", record_head(c->durable - 1, c->durable_hash), "keys", "active", active, "lanes", lanes_view(c),
                         "policy", s->policy_sha256, "started", c->started, "sandbox", c->sandbox, "time", clock_view(c)));
    return 0;
}

static void add_role(void *ctx, const char *role)
{
    json_array_append_new(ctx, json_string(role));
}

int whoami_show(struct core *c, struct request *rq, struct err *e)
{
    static const char *const none[] = {NULL};
    const struct state *s = c->state;
    const struct identity *i = state_identity(s, rq->identity);
    struct policy_subject subject;
    json_t *roles;

    if (query_check(rq, none, e))
        return -1;
    if (!i)
        return err_set(e, ERR_FORBIDDEN, "the client certificate belongs to no identity");
    subject = identity_subject(i);
    roles = json_array();
    policy_roles(s->policy, &subject, add_role, roles);
    reply_json(c, rq, 200,
               json_pack("{s:{s:s, s:s, s:s}, s:s, s:s, s:s, s:s, s:s, s:o, s:s}", "identity", "kind", i->kind, "name", i->name, "state",
                         i->enabled ? "enabled" : "disabled", "credential", rq->cred, "not_after", rq->cred_not_after, "instance", s->instance, "origin",
                         s->origin, "mode", s->mode, "roles", roles, "door", rq->door == CHILD_FRONT_CI ? "ci" : "admin"));
    return 0;
}
