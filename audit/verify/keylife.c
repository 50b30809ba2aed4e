/* The life of keys after their creation: every change is one that a person asked for and that the key's state allows, and no key signs out of turn. */
#include <stdio.h>
#include <string.h>

#include "audit/verify/check.h"
#include "base/timefmt.h"

#define DELAY_HOURS 24            /* of a destruction that says nothing else, and the least */
#define SETTLE_TIME (300 * TIME_SECOND) /* of the ten minutes after a start: the clock may be set back by less than five and that is no step */
#define DELAY_MAX (8760u * 3600u) /* seconds */

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
    bool active = k->life == LIFE_ACTIVE, suspended = k->life == LIFE_SUSPENDED, retired = k->life == LIFE_RETIRED;

    if (ev == EVENT_KEY_SUSPEND)
        return active;
    if (ev == EVENT_KEY_RESUME)
        return suspended;
    if (ev == EVENT_KEY_RETIRE)
        return active || suspended;
    if (ev == EVENT_KEY_DESTROY)
        return suspended || retired;
    if (ev == EVENT_KEY_RESTORE)
        return k->life == LIFE_DESTROYING && !k->erase_seq;
    return ev == EVENT_KEY_COMPROMISE && !k->compromised;
}

static enum key_life next_of(const struct key *k, enum event ev)
{
    if (ev == EVENT_KEY_SUSPEND)
        return LIFE_SUSPENDED;
    if (ev == EVENT_KEY_RESUME)
        return LIFE_ACTIVE;
    if (ev == EVENT_KEY_DESTROY)
        return LIFE_DESTROYING;
    if (ev == EVENT_KEY_RESTORE)
        return k->before;
    return ev == EVENT_KEY_COMPROMISE && k->life > LIFE_RETIRED ? k->life : LIFE_RETIRED;
}

/* A destruction lies as far ahead as its request says, and a day at least where that is no development instance. */
static void check_due(struct check *c, const struct record *r, const json_t *body)
{
    bool hours = json_object_get(body, "delay_hours") != NULL, seconds = json_object_get(body, "delay_seconds") != NULL;
    uint64_t ahead = seconds ? count_of(body, "delay_seconds") : (hours ? count_of(body, "delay_hours") : DELAY_HOURS) * 3600;
    int64_t due = 0;

    if (hours + seconds + 1u != json_object_size(body) || (hours && seconds))
        (void)check_fail(c, r, FINDING_INVALID, "the signed request asks for something else");
    if (time_parse(text_of(r->detail, "due"), &due) || ahead > DELAY_MAX || due - r->time != (int64_t)ahead * TIME_SECOND)
        (void)check_fail(c, r, FINDING_INVALID, "the destruction is due at another moment than the signed request asks for");
    if (ahead < DELAY_HOURS * 3600 && strcmp(c->state.mode, "dev"))
        (void)check_fail(c, r, FINDING_INVALID, "the destruction is due in less than %d hours", DELAY_HOURS);
}

static void check_request(struct check *c, const struct record *r, const char *name)
{
    const char *verb = strchr(event_name(r->event), '.') + 1;
    char path[512];
    JSON_AUTO *body = NULL;

    (void)snprintf(path, sizeof path, "/v1/keys/%s/%s", name, verb);
    body = request_json(c, r, "POST", path);
    if (!body)
        return;
    if (strcmp(text_of(body, "reason"), text_of(r->json, "reason")))
        (void)check_fail(c, r, FINDING_INVALID, "the reason is not that of the signed request");
    if (r->event == EVENT_KEY_DESTROY)
        check_due(c, r, body);
    else if (json_object_size(body) != 1)
        (void)check_fail(c, r, FINDING_INVALID, "the signed request asks for something else");
}

static struct key *key_of(struct check *c, const struct record *r)
{
    const json_t *key = json_object_get(r->json, "key");
    struct key *k = state_key(&c->state, text_of(key, "name"), count_of(key, "version"));

    if (!k)
        (void)check_lacks(c, r, "key %.64s was never created", text_of(key, "name"));
    return k;
}

static void take(struct key *k, const struct record *r, enum key_life to)
{
    if (to == LIFE_DESTROYING && k->life != to) {
        k->before = k->life == LIFE_SUSPENDED ? LIFE_SUSPENDED : LIFE_RETIRED;
        k->erase_seq = 0;
    }
    if (r->event == EVENT_KEY_DESTROY && time_parse(text_of(r->detail, "due"), &k->due))
        k->due = 0;
    if (r->event == EVENT_KEY_COMPROMISE) {
        k->compromised = true;
        k->before = LIFE_RETIRED;
    }
    k->life = to;
}

/* Where a record is lost or was not understood the key may be elsewhere than this fold has it: the record says where it is from here on. */
void keylife_check(struct check *c, const struct record *r)
{
    const char *name = text_of(json_object_get(r->json, "key"), "name");
    enum key_life to = life_of(text_of(r->detail, "state"));
    struct key *k;

    if (r->outcome != OUTCOME_OK)
        return;
    check_request(c, r, name);
    k = key_of(c, r);
    if (!k)
        return;
    if (!may_follow(k, r->event))
        (void)check_lacks(c, r, "key %.64s is %s%s at that point of the log, which does not allow that", name, LIVES[k->life],
                          k->compromised ? " and compromised" : "");
    else if (to != next_of(k, r->event))
        (void)check_lacks(c, r, "it brings key %.64s to the state %s, which is not where it leads", name, LIVES[to]);
    take(k, r, to);
    if (r->event == EVENT_KEY_COMPROMISE)
        report_note(c->report, "record %llu: key %s was marked compromised; whatever it signed deserves a look", (unsigned long long)r->seq, name);
}

/* The removal itself: begun when it was due and not while a step of the clock was open, ended once, with nothing left. */
void erase_check(struct check *c, const struct record *r)
{
    struct key *k = key_of(c, r);

    if (!k)
        return;
    if (r->outcome == OUTCOME_INTENT) {
        if (k->life != LIFE_DESTROYING || k->erase_seq)
            (void)check_lacks(c, r, "key %.64s is %s at that point of the log, or its removal has begun already", k->name, LIVES[k->life]);
        else if (k->due > r->time || c->state.time_step)
            (void)check_fail(c, r, FINDING_INVALID, "key %.64s is removed before that is due, or while a step of the clock is unconfirmed", k->name);
        else if (strcmp(c->state.mode, "dev") && r->time - c->state.started < SETTLE_TIME)
            (void)check_fail(c, r, FINDING_INVALID, "the removal of key %.64s begins right after a start, before the clock can have been put right", k->name);
        k->erase_seq = r->seq;
    } else if (k->life != LIFE_DESTROYING || !k->erase_seq || k->erase_seq != count_of(r->json, "intent_seq")) {
        (void)check_lacks(c, r, "intent_seq names no removal of key %.64s that has begun and not ended", k->name);
    }
    if (r->outcome != OUTCOME_ERROR && strcmp(k->key_id, text_of(r->detail, "key_id")))
        (void)check_fail(c, r, FINDING_INVALID, "its key_id is not that of key %.64s", k->name);
    if (r->outcome == OUTCOME_ERROR)
        report_note(c->report, "record %llu: key %s could not be removed from the token at once", (unsigned long long)r->seq, k->name);
    if (r->outcome != OUTCOME_OK)
        return;
    if (count_of(r->detail, "left"))
        (void)check_fail(c, r, FINDING_INVALID, "objects of key %.64s are left on the token", k->name);
    if (k->copyable)
        report_note(c->report, "record %llu: key %s could be copied: whoever had the PIN of the token may have kept one", (unsigned long long)r->seq, k->name);
    k->life = LIFE_DESTROYED;
}

void keylife_sign_check(struct check *c, const struct record *r, const struct key *k)
{
    if (k->compromised)
        (void)check_lacks(c, r, "key %.64s was marked compromised before", k->name);
    else if (k->life != LIFE_ACTIVE)
        (void)check_lacks(c, r, "key %.64s is %s at that point of the log", k->name, LIVES[k->life]);
}
