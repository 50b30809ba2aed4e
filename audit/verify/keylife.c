/* The life of keys after their creation: every change is one that a person asked for and that the key's state allows, and no key signs out of turn. */
#include <stdio.h>
#include <string.h>

#include "audit/verify/check.h"

static const char *const LIVES[] = {
    [LIFE_ACTIVE] = "active", [LIFE_SUSPENDED] = "suspended", [LIFE_RETIRED] = "retired", [LIFE_DESTROYING] = "destroying", [LIFE_DESTROYED] = "destroyed"};

static enum key_life life_of(const char *name)
{
    enum key_life l = LIFE_DESTROYED;

    while (l > LIFE_ACTIVE && strcmp(LIVES[l], name))
        l--;
    return l;
}

/* What may follow what. A compromised key keeps its mark, and where it could still sign it is retired. */
static bool may_follow(const struct key *k, enum event ev)
{
    bool active = k->life == LIFE_ACTIVE, suspended = k->life == LIFE_SUSPENDED;

    if (ev == EVENT_KEY_SUSPEND)
        return active;
    if (ev == EVENT_KEY_RESUME)
        return suspended;
    if (ev == EVENT_KEY_RETIRE)
        return active || suspended;
    return ev == EVENT_KEY_COMPROMISE && !k->compromised;
}

static enum key_life next_of(const struct key *k, enum event ev)
{
    if (ev == EVENT_KEY_SUSPEND)
        return LIFE_SUSPENDED;
    if (ev == EVENT_KEY_RESUME)
        return LIFE_ACTIVE;
    return ev == EVENT_KEY_COMPROMISE && k->life > LIFE_RETIRED ? k->life : LIFE_RETIRED;
}

static void check_request(struct check *c, const struct record *r, const char *name)
{
    const char *verb = strchr(event_name(r->event), '.') + 1;
    char path[512];
    JSON_AUTO *body = NULL;

    (void)snprintf(path, sizeof path, "/v1/keys/%s/%s", name, verb);
    body = request_json(c, r, "POST", path);
    if (body && (strcmp(text_of(body, "reason"), text_of(r->json, "reason")) || json_object_size(body) != 1))
        (void)check_fail(c, r, FINDING_INVALID, "the signed request asks for something else");
}

/* Where a record is lost or was not understood the key may be elsewhere than this fold has it: the record says where it is from here on. */
void keylife_check(struct check *c, const struct record *r)
{
    const json_t *key = json_object_get(r->json, "key");
    const char *name = text_of(key, "name");
    enum key_life to = life_of(text_of(r->detail, "state"));
    struct key *k;

    if (r->outcome != OUTCOME_OK)
        return;
    check_request(c, r, name);
    k = state_key(&c->state, name, count_of(key, "version"));
    if (!k) {
        (void)check_lacks(c, r, "key %.64s was never created", name);
        return;
    }
    if (!may_follow(k, r->event))
        (void)check_lacks(c, r, "key %.64s is %s%s at that point of the log, which does not allow that", name, LIVES[k->life],
                          k->compromised ? " and compromised" : "");
    else if (to != next_of(k, r->event))
        (void)check_lacks(c, r, "it brings key %.64s to the state %s, which is not where it leads", name, LIVES[to]);
    k->life = to;
    if (r->event == EVENT_KEY_COMPROMISE) {
        k->compromised = true;
        report_note(c->report, "record %llu: key %s was marked compromised; whatever it signed deserves a look", (unsigned long long)r->seq, name);
    }
}

void keylife_sign_check(struct check *c, const struct record *r, const struct key *k)
{
    if (k->compromised)
        (void)check_lacks(c, r, "key %.64s was marked compromised before", k->name);
    else if (k->life != LIFE_ACTIVE)
        (void)check_lacks(c, r, "key %.64s is %s at that point of the log", k->name, LIVES[k->life]);
}
