/* What the service says of itself and of the caller. */
#include <string.h>

#include "base/timefmt.h"
#include "kmsd/core/internal.h"

const char *const lane_state_names[] = {[LANE_DOWN] = "down",     [LANE_STARTING] = "starting", [LANE_AWAY] = "away",
                                         [LANE_SEALED] = "sealed", [LANE_PROVING] = "proving",   [LANE_READY] = "ready"};

static json_t *lanes_view(const struct core *c)
{
    json_t *list = json_array();

    for (unsigned n = 0; n < c->n_lanes; n++) {
        const struct lane *l = &c->lane[n];

        json_array_append_new(list, json_pack("{s:i, s:s, s:s, s:s}", "index", (int)l->index, "role", l->role == CHILD_LANE_ADMIN ? "admin" : "sign",
                                              "sandbox", l->sandbox, "state", lane_state_names[l->state]));
    }
    return list;
}

static json_t *doors_view(const struct core *c)
{
    json_t *list = json_array();

    for (size_t n = 0; n < 2; n++)
        json_array_append_new(list, json_pack("{s:s, s:s}", "name", n ? "admin" : "ci", "state",
                                              c->front[n].hello ? "ready" : c->front[n].up ? "starting" : "down"));
    return list;
}

static json_t *certificates_view(const struct core *c)
{
    struct shown_certificate shown[CERTIFICATES_SHOWN];
    unsigned n = tally_certificates(c, shown);
    json_t *list = json_array();
    char until[TIME_TEXT];

    for (unsigned i = 0; i < n; i++) {
        time_format(shown[i].not_after, until);
        json_array_append_new(list, json_pack("{s:s, s:s}", "name", shown[i].name, "not_after", until));
    }
    return list;
}

static json_t *keys_view(const struct core *c)
{
    json_t *keys = json_object();
    struct tally t;

    tally(c, &t);
    for (size_t n = 0; n < TALLY_KEY_STATES; n++)
        json_object_set_new(keys, tally_key_states[n], json_integer(t.keys[n]));
    return keys;
}

static json_t *reader_view(const struct core *c)
{
    return json_pack("{s:I, s:s}", "indexed", (json_int_t)c->reader.indexed, "state", reader_word(c));
}

static json_t *log_view(const struct core *c)
{
    char time[TIME_TEXT];

    time_format(c->durable_time, time);
    return json_pack("{s:I, s:s, s:I, s:s}", "bytes", (json_int_t)(c->start.log_bytes + c->metrics.bytes), "hash", c->durable_hash, "seq",
                     (json_int_t)c->durable - 1, "time", time);
}

static json_t *snapshot_view(const struct core *c)
{
    json_t *view = json_pack("{s:I}", "records", (json_int_t)c->snapshot.usable);
    char time[TIME_TEXT];

    if (c->metrics.snapshot_time) {
        time_format(c->metrics.snapshot_time, time);
        json_object_set_new(view, "time", json_string(time));
    }
    return view;
}

/* Without the paths of this machine. */
static json_t *token_view(const struct core *c)
{
    static const char *const members[] = {"firmware", "label", "manufacturer", "model", "serial"};
    json_t *view = json_object();

    for (size_t n = 0; n < sizeof members / sizeof *members; n++)
        if (json_is_string(json_object_get(c->token, members[n])))
            json_object_set(view, members[n], json_object_get(c->token, members[n]));
    return view;
}

int status_show(struct core *c, struct request *rq, struct err *e)
{
    static const char *const none[] = {NULL};
    const struct state *s = c->state;
    const char *anchor = c->anchor.problem[0] ? c->anchor.problem : c->anchor.useless ? "in its file only: the token keeps no data objects" : "kept";
    json_t *status;


    if (query_check(rq, none, e) || authorise(c, rq, NULL, NULL, NULL, e))
        return -1;
    status = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "anchor", anchor, "instance", s->instance, "origin", s->origin, "mode", s->mode,
                       "version", c->start.version, "policy", s->policy_sha256, "started", c->started, "sandbox", c->sandbox);
    json_object_set_new(status, "certificates", certificates_view(c));
    json_object_set_new(status, "doors", doors_view(c));
    json_object_set_new(status, "keys", keys_view(c));
    json_object_set_new(status, "lanes", lanes_view(c));
    json_object_set_new(status, "log", log_view(c));
    json_object_set_new(status, "reader", reader_view(c));
    json_object_set_new(status, "ready", json_boolean(health_ready(c)));
    json_object_set_new(status, "snapshot", snapshot_view(c));
    json_object_set_new(status, "time", clock_view(c));
    json_object_set_new(status, "token", token_view(c));
    json_object_set_new(status, "warnings", warnings_view(c));
    reply_json(c, rq, 200, status);
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
