/* Owns the state's memory and finds things in it. */
#include "audit/state/state.h"

#include <stdlib.h>
#include <string.h>

#include "audit/state/internal.h"
#include "audit/state/tree.h"

struct state *state_new(void)
{
    struct state *s = calloc(1, sizeof *s);

    if (!s)
        return NULL;
    chain_start(&s->chain);
    memset(s->head, '0', SHA256_HEX - 1);
    s->ca_spki = BUF_INIT(4096);
    s->ca_cert = BUF_INIT(16384);
    s->ca_before = BUF_INIT(4096);
    s->policy_text = BUF_INIT(POLICY_TEXT_MAX);
    return s;
}

static void free_identity(void *node)
{
    identity_clear(node);
    free(node);
}

static void free_key(void *node)
{
    struct key *k = node;

    buf_free(&k->spki);
    free(k);
}

void release_free(void *node)
{
    struct release *r = node;

    free(r->line);
    free(r);
}

static void free_mark(void *node)
{
    struct mark *m = node;

    tree_free(&m->releases, release_free);
    free(m);
}

static void free_stored(void *node)
{
    struct stored *st = node;

    free(st->line);
    free(st);
}

void state_free(struct state *s)
{
    if (!s)
        return;
    tree_free(&s->credentials, free);
    tree_free(&s->identities, free_identity);
    tree_free(&s->keys, free_key);
    tree_free(&s->marks, free_mark);
    tree_free(&s->stored, free_stored);
    tree_free(&s->idem_owners, free);
    policy_free(s->policy);
    buf_free(&s->ca_spki);
    buf_free(&s->ca_cert);
    buf_free(&s->ca_before);
    buf_free(&s->policy_text);
    free(s);
}

struct identity *state_identity(const struct state *s, const char *name)
{
    return tree_find(&s->identities, name);
}

struct identity *state_credential(const struct state *s, const char *credential_id)
{
    struct credential_ref *ref = tree_find(&s->credentials, credential_id);

    return ref ? ref->identity : NULL;
}

struct key *state_key(const struct state *s, const char *name)
{
    return tree_find(&s->keys, name);
}

void mark_id(const char *app, const char *channel, char *out, size_t size)
{
    size_t a = strlen(app), n = strlen(channel);

    out[0] = '\0';
    if (a >= size || n >= size || a + 1 + n >= size)
        return;
    memcpy(out, app, a);
    out[a] = '\n';
    memcpy(out + a + 1, channel, n + 1);
}

struct mark *state_mark(const struct state *s, const char *app, const char *channel)
{
    char id[sizeof((struct mark *)0)->id];

    mark_id(app, channel, id, sizeof id);
    return tree_find(&s->marks, id);
}

struct release *mark_release(const struct mark *m, const char *name)
{
    return tree_find(&m->releases, name);
}

struct stored *state_stored(const struct state *s, const char *id)
{
    struct stored *st = tree_find(&s->stored, id);

    return st;
}

struct walk {
    bool (*identity)(void *ctx, struct identity *i);
    bool (*key)(void *ctx, struct key *k);
    void *ctx;
};

static bool visit_identity(void *ctx, void *node)
{
    struct walk *w = ctx;

    return w->identity(w->ctx, node);
}

static bool visit_key(void *ctx, void *node)
{
    struct walk *w = ctx;

    return w->key(w->ctx, node);
}

void state_each_identity(const struct state *s, const char *after, bool (*each)(void *ctx, struct identity *i), void *ctx)
{
    struct walk w = {.identity = each, .ctx = ctx};

    tree_each(s->identities, after, visit_identity, &w);
}

void state_each_key(const struct state *s, const char *after, bool (*each)(void *ctx, struct key *k), void *ctx)
{
    struct walk w = {.key = each, .ctx = ctx};

    tree_each(s->keys, after, visit_key, &w);
}

void idem_id(const char *principal, const char *method, const char *path, const char *key, char out[static SHA256_HEX])
{
    const char *const parts[] = {principal, "\n", method, "\n", path, "\n", key};
    BUF_AUTO b = BUF_INIT(8192);

    for (size_t n = 0; n < sizeof parts / sizeof *parts; n++)
        buf_puts(&b, parts[n]);
    sha256_hex(b.data, b.len, out);
}
