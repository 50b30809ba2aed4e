/* What the records so far have established: keys, identities, version marks, nonces. The verifier's own fold. */
#include "audit/verify/state.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audit/verify/canon.h"
#include "base/timefmt.h"

#define SPKI_MAX 8192

const char *text_of(const json_t *object, const char *member)
{
    const char *s = json_string_value(json_object_get(object, member));

    return s ? s : "";
}

uint64_t count_of(const json_t *object, const char *member)
{
    json_int_t n = json_integer_value(json_object_get(object, member));

    return n < 0 ? 0 : (uint64_t)n;
}

static char *copy_of(const json_t *object, const char *member)
{
    return strdup(text_of(object, member));
}

static void key_free(void *value)
{
    struct key *k = value;

    free(k->name);
    free(k->scheme);
    free(k->purpose);
    free(k->algorithm);
    free(k->key_id);
    free(k->body_sha256);
    free(k->policy);
    free(k->idem);
    free(k->rule);
    free(k->actor);
    buf_free(&k->spki);
    pubkey_close(k->public);
    free(k);
}

static void identity_free(void *value)
{
    struct identity *i = value;

    for (size_t n = 0; n < i->n_ssh; n++)
        free(i->ssh[n]);
    free(i->ssh);
    free(i->cert);
    free(i->name);
    free(i->kind);
    free(i);
}

static void mark_free(void *value)
{
    struct mark *m = value;

    map_free(&m->digests, free);
    free(m->version);
    free(m);
}

void state_init(struct state *s)
{
    *s = (struct state){.ca_spki = BUF_INIT(SPKI_MAX), .ca_before = BUF_INIT(SPKI_MAX)};
}

void state_free(struct state *s)
{
    map_free(&s->keys, NULL);
    map_free(&s->intents, key_free);
    map_free(&s->key_ids, NULL);
    map_free(&s->public_keys, NULL);
    map_free(&s->nonces, NULL);
    map_free(&s->owners, NULL);
    map_free(&s->ssh, NULL);
    map_free(&s->names, NULL);
    map_free(&s->issued, NULL);
    map_free(&s->identities, identity_free);
    map_free(&s->marks, mark_free);
    buf_free(&s->ca_spki);
    buf_free(&s->ca_before);
}

static void key_label(struct buf *out, const char *name, uint64_t version)
{
    buf_puts(out, name);
    buf_putc(out, '\n');
    canon_count(out, version);
}

struct key *state_key(const struct state *s, const char *name, uint64_t version)
{
    BUF_AUTO id = BUF_INIT(70000);

    key_label(&id, name, version);
    return map_get(&s->keys, buf_str(&id));
}

static void number(char out[static 24], uint64_t n)
{
    (void)snprintf(out, 24, "%" PRIu64, n);
}

struct key *state_add_intent(struct state *s, uint64_t seq, const json_t *record)
{
    const json_t *key = json_object_get(record, "key"), *detail = json_object_get(record, "detail");
    struct key *k = calloc(1, sizeof *k);
    char id[24];

    if (!k)
        return NULL;
    *k = (struct key){.name = copy_of(key, "name"), .version = count_of(key, "version"), .scheme = copy_of(record, "scheme"),
                      .purpose = copy_of(record, "purpose"), .algorithm = copy_of(detail, "algorithm"), .key_id = copy_of(detail, "key_id"),
                      .body_sha256 = copy_of(record, "body_sha256"), .policy = copy_of(record, "policy"), .idem = copy_of(record, "idem"),
                      .rule = copy_of(record, "rule"), .actor = copy_of(json_object_get(record, "actor"), "name"),
                      .intent_seq = seq, .spki = BUF_INIT(SPKI_MAX)};
    number(id, seq);
    if (!k->name || !k->scheme || !k->purpose || !k->algorithm || !k->key_id || !k->body_sha256 || !k->policy || !k->idem || !k->rule || !k->actor ||
        map_put(&s->intents, id, k)) {
        key_free(k);
        return NULL;
    }
    if (s->last_intent)
        s->last_intent->next = k;
    else
        s->first_intent = k;
    s->last_intent = k;
    return k;
}

struct key *state_intent(const struct state *s, uint64_t seq)
{
    char id[24];

    number(id, seq);
    return map_get(&s->intents, id);
}

int state_add_key(struct state *s, struct key *k)
{
    BUF_AUTO id = BUF_INIT(70000);

    key_label(&id, k->name, k->version);
    return map_get(&s->keys, buf_str(&id)) ? -1 : map_put(&s->keys, buf_str(&id), k);
}

struct identity *state_identity(const struct state *s, const char *name)
{
    return map_get(&s->identities, name);
}

static int add_text(char ***list, size_t *n, const char *text)
{
    char **more = realloc(*list, (*n + 1) * sizeof *more);

    if (!more)
        return -1;
    *list = more;
    more[*n] = strdup(text);
    if (!more[*n])
        return -1;
    ++*n;
    return 0;
}

struct identity *state_add_identity(struct state *s, const json_t *identity)
{
    const json_t *creds = json_object_get(identity, "credentials"), *ssh = json_object_get(identity, "ssh");
    struct identity *i = calloc(1, sizeof *i);
    int failed = 0;

    if (!i)
        return NULL;
    *i = (struct identity){.name = copy_of(identity, "name"), .kind = copy_of(identity, "kind"), .enabled = true};
    for (size_t n = 0; n < json_array_size(ssh); n++) {
        const char *key = json_string_value(json_array_get(ssh, n));

        failed |= add_text(&i->ssh, &i->n_ssh, key) || (!map_get(&s->ssh, key) && state_take(&s->ssh, key));
    }
    for (size_t n = 0; n < json_array_size(creds); n++) {
        const json_t *c = json_array_get(creds, n);

        if (strcmp(text_of(c, "kind"), "certificate"))
            i->n_san++;
        else
            failed |= identity_add_cert(i, c);
    }
    if (!failed && i->name && i->kind && !state_identity(s, i->name) && !map_put(&s->identities, i->name, i))
        return i;
    identity_free(i);
    return NULL;
}

static bool has_text(char *const *list, size_t n, const char *text)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(list[i], text))
            return true;
    return false;
}

bool identity_has_ssh(const struct identity *i, const char *key)
{
    return has_text(i->ssh, i->n_ssh, key);
}

const struct cert *identity_cert(const struct identity *i, const char *sha256)
{
    for (size_t n = 0; n < i->n_cert; n++)
        if (!strcmp(i->cert[n].sha256, sha256))
            return &i->cert[n];
    return NULL;
}

static void copy_hash(char out[static SHA256_HEX], const char *text)
{
    size_t n = strnlen(text, SHA256_HEX - 1);

    memcpy(out, text, n);
    out[n] = '\0';
}

int identity_add_cert(struct identity *i, const json_t *credential)
{
    struct cert *more = realloc(i->cert, (i->n_cert + 1) * sizeof *more);

    if (!more)
        return -1;
    i->cert = more;
    more[i->n_cert] = (struct cert){.issued = json_is_true(json_object_get(credential, "issued"))};
    copy_hash(more[i->n_cert].sha256, text_of(credential, "cert_sha256"));
    copy_hash(more[i->n_cert].spki_sha256, text_of(credential, "spki_sha256"));
    if (time_parse(text_of(credential, "not_after"), &more[i->n_cert].not_after))
        more[i->n_cert].not_after = 0;
    i->n_cert++;
    return 0;
}

void identity_drop_cert(struct identity *i, const struct cert *cert)
{
    i->cert[cert - i->cert] = i->cert[--i->n_cert];
}

const struct identity *state_owner(const struct state *s, const char *sha256)
{
    const struct identity *i = map_get(&s->owners, sha256);

    return i && identity_cert(i, sha256) ? i : NULL;
}

int state_own(struct state *s, const char *sha256, struct identity *i)
{
    return map_change(&s->owners, sha256, i);
}

struct mark *state_mark(struct state *s, const char *app, const char *channel)
{
    BUF_AUTO id = BUF_INIT(140000);
    struct mark *m;

    buf_puts(&id, app);
    buf_putc(&id, '\n');
    buf_puts(&id, channel);
    m = map_get(&s->marks, buf_str(&id));
    if (m)
        return m;
    m = calloc(1, sizeof *m);
    if (m && !map_put(&s->marks, buf_str(&id), m))
        return m;
    free(m);
    return NULL;
}

int mark_move(struct mark *m, const char *version)
{
    char *copy = strdup(version);

    if (!copy)
        return -1;
    map_free(&m->digests, free);
    free(m->version);
    m->version = copy;
    m->withdrawn = false;
    return 0;
}

int state_take(struct map *set, const char *id)
{
    static char present;

    return map_get(set, id) ? -1 : map_put(set, id, &present);
}
