/* The part of the fold that moves keys from one state to the next. */
#include "audit/state/keylife.h"

#include <string.h>

#include "audit/state/internal.h"
#include "base/timefmt.h"

static const char *const STATES[] = {
    [KEY_ACTIVE] = "active", [KEY_SUSPENDED] = "suspended", [KEY_RETIRED] = "retired", [KEY_DESTROYING] = "destroying", [KEY_DESTROYED] = "destroyed"};
#define N_STATES (sizeof STATES / sizeof *STATES)

#define B(state) (1u << (state))
#define ANY (B(N_STATES) - 1)

/* What a person can bring about. A compromise is a mark for ever besides: where the key could still sign it can no longer. */
static const struct change {
    const char *event, *rule;
    unsigned from;
    enum key_state to;
} CHANGES[] = {
    {"key.suspend", "an active key can be suspended", B(KEY_ACTIVE), KEY_SUSPENDED},
    {"key.resume", "a suspended key can be resumed", B(KEY_SUSPENDED), KEY_ACTIVE},
    {"key.retire", "an active or suspended key can be retired", B(KEY_ACTIVE) | B(KEY_SUSPENDED), KEY_RETIRED},
    {"key.compromise", "any key can be marked compromised, once", ANY, KEY_RETIRED},
    {"key.destroy", "a suspended or retired key can be destroyed", B(KEY_SUSPENDED) | B(KEY_RETIRED), KEY_DESTROYING},
    {"key.restore", "a key whose destruction has not begun can be restored", B(KEY_DESTROYING), KEY_ACTIVE},
};

const char *key_state_name(enum key_state s)
{
    return STATES[s];
}

int key_state_parse(const char *name, enum key_state *out)
{
    for (unsigned n = 0; n < N_STATES; n++)
        if (!strcmp(STATES[n], name)) {
            *out = (enum key_state)n;
            return 0;
        }
    return -1;
}

bool key_on_token(const struct key *k)
{
    return k->active && !k->erase_seq;
}

bool key_signs(const struct key *k)
{
    return k->active && k->state == KEY_ACTIVE && !k->compromised[0];
}

static const struct change *change_of(const char *event)
{
    for (size_t n = 0; n < sizeof CHANGES / sizeof *CHANGES; n++)
        if (!strcmp(CHANGES[n].event, event))
            return &CHANGES[n];
    return NULL;
}

int key_change(const struct key *k, const char *event, enum key_state *to, struct err *e)
{
    const struct change *c = change_of(event);
    bool compromise = !strcmp(event, "key.compromise"), restore = !strcmp(event, "key.restore");

    if (!c || !k->active)
        return err_set(e, ERR_INTERNAL, "key %s has no such change", k->name);
    if (!(c->from & B(k->state)))
        return err_set(e, ERR_KEY_STATE, "key %s is %s; %s", k->name, STATES[k->state], c->rule);
    if (restore && k->erase_seq)
        return err_set(e, ERR_KEY_STATE, "the destruction of key %s has begun", k->name);
    if (compromise && k->compromised[0])
        return err_set(e, ERR_KEY_STATE, "key %s was marked compromised on %s; that stays", k->name, k->compromised);
    *to = restore ? k->before : compromise && k->state > KEY_RETIRED ? k->state : c->to;
    return 0;
}

static void set_text(char out[static TIME_TEXT], const char *text)
{
    size_t n = strnlen(text, TIME_TEXT - 1);

    memcpy(out, text, n);
    out[n] = '\0';
}

static struct key *key_of(struct fold *f, struct err *e)
{
    const json_t *key = rec_obj(f->record, "key");
    struct key *k = state_key(f->s, rec_str(key, "name"));

    if (k && k->active && k->version == rec_int(key, "version"))
        return k;
    err_set(e, ERR_INTERNAL, "a record changes a key that does not exist");
    return NULL;
}

/* The state that holds from here on stands in the record; it must be the one that the change leads to. */
int fold_key_change(struct fold *f, struct err *e)
{
    const char *event = rec_str(f->record, "event"), *time = rec_str(f->record, "time"), *due = rec_str(f->detail, "due");
    struct key *k = key_of(f, e);
    enum key_state to;
    int64_t at;

    if (!k || key_change(k, event, &to, e))
        return -1;
    if (strcmp(rec_str(f->detail, "state"), STATES[to]))
        return err_set(e, ERR_INTERNAL, "the record brings key %s to another state than it can get to", k->name);
    if (to == KEY_DESTROYING && k->state != to) {
        if (time_parse(due, &at) || at <= f->s->chain.time)
            return err_set(e, ERR_INTERNAL, "the destruction of key %s is due at no later moment", k->name);
        k->before = k->state;
        set_text(k->due, due);
    }
    if (k->state == KEY_DESTROYING && to != KEY_DESTROYING) {
        k->before = KEY_ACTIVE;
        k->due[0] = '\0';
    }
    if (!strcmp(event, "key.compromise")) {
        set_text(k->compromised, time);
        if (to == KEY_DESTROYING)
            k->before = KEY_RETIRED;
    }
    if (to != k->state)
        set_text(k->since, time);
    k->state = to;
    return 0;
}

/* What was due begins: from here on the key is not expected on the token any more, and nothing leads back. */
int fold_erase_intent(struct fold *f, struct err *e)
{
    struct key *k = key_of(f, e);
    int64_t due;

    if (!k)
        return -1;
    if (k->state != KEY_DESTROYING || k->erase_seq || time_parse(k->due, &due) || due > f->s->chain.time || f->s->time_frozen)
        return err_set(e, ERR_INTERNAL, "the removal of key %s begins before it is due, or again", k->name);
    k->erase_seq = rec_int(f->record, "seq");
    f->s->n_keys--;
    return 0;
}

int fold_erase_result(struct fold *f, struct err *e)
{
    struct key *k = key_of(f, e);

    if (!k)
        return -1;
    if (k->state != KEY_DESTROYING || !k->erase_seq || k->erase_seq != rec_int(f->record, "intent_seq") || rec_int(f->detail, "left"))
        return err_set(e, ERR_INTERNAL, "the removal of key %s has no intent, or left something", k->name);
    k->state = KEY_DESTROYED;
    k->before = KEY_ACTIVE;
    k->due[0] = '\0';
    set_text(k->since, rec_str(f->record, "time"));
    return 0;
}
