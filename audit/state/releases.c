/* Version marks and stored answers: the part of the fold that signatures move. */
#include <stdlib.h>
#include <string.h>

#include "audit/state/internal.h"
#include "audit/state/snapshot.h"
#include "audit/state/tree.h"

static char *line_copy(struct span line)
{
    char *copy = malloc(line.len + 1);

    if (!copy)
        return NULL;
    memcpy(copy, line.data, line.len);
    copy[line.len] = '\0';
    return copy;
}

struct mark *mark_make(struct state *s, const char *app, const char *channel)
{
    struct mark *m = state_mark(s, app, channel);

    if (m)
        return m;
    m = calloc(1, sizeof *m);
    if (!m)
        return NULL;
    mark_id(app, channel, m->id, sizeof m->id);
    if (!tree_add(&s->marks, m))
        return m;
    free(m);
    return NULL;
}

static int mark_move(struct mark *m, const char *version, struct err *e)
{
    if (version_check(version, e))
        return err_context(e, "the record of a signature");
    if (m->version[0] && version_compare(version, m->version) == 0)
        return strcmp(version, m->version) ? err_set(e, ERR_INTERNAL, "versions %s and %s of one channel are equal in precedence", m->version, version) : 0;
    if (m->version[0] && version_compare(version, m->version) < 0)
        return err_set(e, ERR_INTERNAL, "the version of a channel goes down from %s to %s", m->version, version);
    tree_free(&m->releases, release_free);
    memcpy(m->version, version, strlen(version) + 1);
    m->withdrawn = false;
    return 0;
}

int release_take(struct mark *m, const struct facts *is, struct span line, struct err *e)
{
    size_t name = strlen(is->name), digest = strlen(is->digest), key = strlen(is->key);
    struct release *r;

    if (mark_release(m, is->name))
        return err_set(e, ERR_INTERNAL, "%s was signed twice in one version", is->name);
    r = calloc(1, sizeof *r);
    if (!r || name >= sizeof r->name || digest >= sizeof r->digest || key >= sizeof r->key || !(r->line = line_copy(line))) {
        free(r);
        return err_set(e, ERR_INTERNAL, "the record of a signature does not fit its form");
    }
    memcpy(r->name, is->name, name + 1);
    memcpy(r->digest, is->digest, digest + 1);
    memcpy(r->key, is->key, key + 1);
    if (!tree_add(&m->releases, r))
        return 0;
    release_free(r);
    return err_set(e, ERR_INTERNAL, "out of memory");
}

int fold_sign(struct fold *f, struct err *e)
{
    struct mark *m = mark_make(f->s, f->is.app, f->is.channel);

    if (!m)
        return err_set(e, ERR_INTERNAL, "out of memory");
    if (mark_move(m, f->is.version, e))
        return -1;
    if (m->withdrawn)
        return err_set(e, ERR_INTERNAL, "a withdrawn version was signed");
    return release_take(m, &f->is, f->line, e);
}

int fold_withdraw(struct fold *f, struct err *e)
{
    struct mark *m = state_mark(f->s, f->is.app, f->is.channel);

    if (!m || strcmp(m->version, f->is.version))
        return err_set(e, ERR_INTERNAL, "the withdrawn version is not the newest of its channel");
    m->withdrawn = true;
    return 0;
}

static void drop_oldest(struct state *s)
{
    struct stored *st = s->stored_first;

    if (s->writer)
        snapshot_leaves(s->writer, st);
    s->stored_first = st->next;
    s->n_stored--;
    if (!s->stored_first)
        s->stored_last = NULL;
    st->owner->count--;
    tree_remove(&s->stored, st);
    free(st->line);
    free(st);
}

static struct idem_owner *owner_make(struct state *s, const char *name)
{
    struct idem_owner *o = tree_find(&s->idem_owners, name);

    if (o)
        return o;
    o = calloc(1, sizeof *o);
    if (!o || strlen(name) >= sizeof o->name) {
        free(o);
        return NULL;
    }
    memcpy(o->name, name, strlen(name) + 1);
    if (!tree_add(&s->idem_owners, o))
        return o;
    free(o);
    return NULL;
}

/* The path of a signed request stands in its record; those of a signature, of a job's renewal and of the result of a key creation are always the same. */
static void stored_id(const struct facts *is, char out[static SHA256_HEX])
{
    const char *fixed = !strcmp(is->event, "key.create") ? "/v1/keys" : !strcmp(is->event, "identity.renew") ? "/v1/renew" : "/v1/sign";

    idem_id(is->actor, is->method ? is->method : "POST", is->path ? is->path : fixed, is->idem, out);
}

int stored_take(struct state *s, const struct facts *is, struct span line, bool *taken, struct err *e)
{
    struct idem_owner *owner = owner_make(s, is->actor);
    struct stored *st = calloc(1, sizeof *st);

    *taken = false;
    if (!owner || !st || strlen(is->body_sha256) >= sizeof st->body_sha256 || is->time < 0 || !(st->line = line_copy(line))) {
        free(st);
        return err_set(e, ERR_INTERNAL, "the record of an answer does not fit its form");
    }
    stored_id(is, st->id);
    if (owner->count >= STORED_ANSWERS_MAX || state_stored(s, st->id) || tree_add(&s->stored, st)) {
        free(st->line);
        free(st);
        return 0;
    }
    memcpy(st->body_sha256, is->body_sha256, strlen(is->body_sha256) + 1);
    st->time = is->time;
    st->seq = is->seq;
    st->owner = owner;
    owner->count++;
    if (s->stored_last)
        s->stored_last->next = st;
    else
        s->stored_first = st;
    s->stored_last = st;
    s->n_stored++;
    *taken = true;
    return 0;
}

int fold_stored(struct fold *f, struct err *e)
{
    struct state *s = f->s;
    bool taken;

    while (s->stored_first && s->stored_first->time < s->chain.time - STORED_ANSWER_TIME)
        drop_oldest(s);
    return *f->is.idem ? stored_take(s, &f->is, f->line, &taken, e) : 0;
}
