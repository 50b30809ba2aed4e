/* The life of keys in the simulated world: what the administrator asks for, and a model that knows what may follow what. */
#include <string.h>

#include "tests/sim/sim.h"

static const char *const VERBS[] = {"suspend", "resume", "retire", "compromise", "destroy", "restore"};

static const char *text(const json_t *j, const char *member)
{
    const char *t = json_string_value(json_object_get(j, member));

    return t ? t : "";
}

const char *sim_life_state(const struct sim_model *m, const char *key)
{
    const char *state = text(json_object_get(m->life, key), "state");

    return *state ? state : "active";
}

bool sim_life_begun(const struct sim_model *m)
{
    const char *name;
    json_t *life;

    json_object_foreach(m->life, name, life)
        if (json_object_get(life, "erase") && strcmp(text(life, "state"), "destroyed"))
            return true;
    return false;
}

/* Mostly what the durable log allows; the key that most signatures need is stopped for good in few worlds only. */
static const char *pick_verb(struct sim *s, const char *key, bool for_good)
{
    static const struct {
        const char *state, *verbs[4];
    } fitting[] = {{"active", {"suspend", "suspend", "retire", "compromise"}}, {"suspended", {"resume", "destroy", "destroy", "retire"}},
                   {"retired", {"destroy", "destroy", "destroy", "compromise"}}, {"destroying", {"restore", "compromise", "resume", "suspend"}}};
    const char *state = sim_life_state(&s->model, key);

    if (!for_good)
        return strcmp(state, "active") && sim_random(s, 8) ? "resume" : "suspend";
    for (size_t n = 0; n < sizeof fitting / sizeof *fitting && sim_random(s, 4); n++)
        if (!strcmp(fitting[n].state, state))
            return fitting[n].verbs[sim_random(s, 4)];
    return VERBS[sim_random(s, 6)];
}

const char *sim_pick_life(struct sim *s, struct sim_request *r)
{
    bool release = !sim_random(s, 3);

    if (release)
        memcpy(r->key, "release", 8);
    else
        (void)snprintf(r->key, sizeof r->key, "k%u", (unsigned)sim_random(s, sim_random(s, 8) ? SIM_KEYS : 12));
    return pick_verb(s, r->key, !release || !sim_random(s, 16));
}

void sim_heard_life(struct sim *s, const struct sim_request *r, const json_t *body)
{
    const json_t *key = json_object_get(body, "key");

    if (r->kind == SIM_LIFE && json_object_get(key, "compromised"))
        json_object_set_new(s->compromised, r->key, json_true());
    if (r->kind == SIM_SIGN && json_object_get(s->compromised, text(body, "key")))
        sim_fail(s, "promise 2: a signature by key %s was handed out after it was marked compromised", text(body, "key"));
}

static json_t *life_of(struct sim_model *m, const char *key)
{
    json_t *life = json_object_get(m->life, key);

    if (life)
        return life;
    life = json_pack("{s:s}", "state", "active");
    json_object_set_new(m->life, key, life);
    return life;
}

static void set(json_t *life, const char *member, const char *value)
{
    json_object_set_new(life, member, json_string(value));
}

static void see_change(struct sim *s, struct sim_model *m, const json_t *record, json_t *life, const char *verb)
{
    const char *was = text(life, "state"), *to = text(json_object_get(record, "detail"), "state");
    bool active = !strcmp(was, "active"), suspended = !strcmp(was, "suspended"), retired = !strcmp(was, "retired"), destroying = !strcmp(was, "destroying");
    bool fits = false;

    if (!strcmp(verb, "suspend"))
        fits = active && !strcmp(to, "suspended");
    else if (!strcmp(verb, "resume"))
        fits = suspended && !strcmp(to, "active");
    else if (!strcmp(verb, "retire"))
        fits = (active || suspended) && !strcmp(to, "retired");
    else if (!strcmp(verb, "destroy"))
        fits = (suspended || retired) && !strcmp(to, "destroying");
    else if (!strcmp(verb, "restore"))
        fits = destroying && !json_object_get(life, "erase") && !strcmp(to, text(life, "before"));
    else if (!strcmp(verb, "compromise"))
        fits = !json_object_get(life, "compromised") && !strcmp(to, active || suspended ? "retired" : was);
    if (!fits)
        sim_fail(s, "record %llu: %s of a key that is %s leads to %s", (unsigned long long)m->seq, verb, was, to);
    if (!strcmp(verb, "destroy")) {
        set(life, "before", was);
        set(life, "due", text(json_object_get(record, "detail"), "due"));
    }
    if (!strcmp(verb, "compromise")) {
        json_object_set_new(life, "compromised", json_true());
        set(life, "before", "retired");
    }
    set(life, "state", to);
}

static void see_erase(struct sim *s, struct sim_model *m, const json_t *record, json_t *life, const char *outcome)
{
    json_t *begun = json_object_get(life, "erase");
    bool destroying = !strcmp(text(life, "state"), "destroying");

    if (!strcmp(outcome, "intent")) {
        if (!destroying || begun || strcmp(text(life, "due"), text(record, "time")) > 0 || m->step)
            sim_fail(s, "record %llu: the removal of a key begins before it is due", (unsigned long long)m->seq);
        json_object_set_new(life, "erase", json_integer((json_int_t)m->seq));
        return;
    }
    if (!destroying || !begun || json_integer_value(begun) != json_integer_value(json_object_get(record, "intent_seq")))
        sim_fail(s, "record %llu: the removal of a key ends without its beginning", (unsigned long long)m->seq);
    if (strcmp(outcome, "ok"))
        return;
    if (sim_token_holds(s, text(json_object_get(record, "detail"), "key_id")))
        sim_fail(s, "record %llu says that a key is gone that the token has", (unsigned long long)m->seq);
    set(life, "state", "destroyed");
}

void sim_see_life(struct sim *s, struct sim_model *m, const json_t *record, const char *event, const char *outcome)
{
    const char *key = text(json_object_get(record, "key"), "name");

    if (!strcmp(event, "key.erase"))
        see_erase(s, m, record, life_of(m, key), outcome);
    else if (!strcmp(outcome, "ok") && strcmp(event, "key.create"))
        see_change(s, m, record, life_of(m, key), event + 4);
}
