/* Counts keys and identities by their states, for metrics and the status. */
#include <string.h>

#include "audit/state/keylife.h"
#include "base/timefmt.h"
#include "kmsd/core/internal.h"

const char *const tally_key_states[TALLY_KEY_STATES + 1] = {"creating", "active", "suspended", "retired", "destroying", "destroyed", NULL};
const char *const tally_found[TALLY_FOUND + 1] = {"present", "missing", "duplicate", "unknown", NULL};
const char *const tally_kinds[TALLY_KINDS + 1] = {"ci", "service", "human", NULL};

struct counting {
    const struct core *c;
    struct tally *t;
};

static void count(int64_t *counts, const char *const *words, const char *word)
{
    for (size_t n = 0; words[n]; n++)
        counts[n] += !strcmp(words[n], word);
}

static bool count_key(void *ctx, struct key *k)
{
    const struct counting *n = ctx;
    const char *found = key_on_token(k) ? reconcile_word(n->c, k) : NULL;

    count(n->t->keys, tally_key_states, k->active ? key_state_name(k->state) : "creating");
    if (key_on_token(k))
        count(n->t->found, tally_found, found ? found : "unknown");
    return true;
}

/* When the credential that lasts longest ends; a name under a CA has no end of its own. */
static int64_t end_of(const struct identity *i)
{
    int64_t last = 0;

    for (unsigned n = 0; n < i->n_credentials; n++) {
        const char *text = i->credential[n].not_after;
        int64_t until = INT64_MAX;

        if (*text && time_parse(text, &until))
            until = 0;
        last = until > last ? until : last;
    }
    return last;
}

static bool count_identity(void *ctx, struct identity *i)
{
    const struct counting *n = ctx;
    int64_t left = end_of(i) - n->c->clock.wall;

    count(n->t->identities[!i->enabled], tally_kinds, i->kind);
    if (i->enabled && i->n_credentials) {
        n->t->ended += left <= 0;
        n->t->ending += left > 0 && left < CERT_SOON;
    }
    return true;
}

void tally(const struct core *c, struct tally *out)
{
    struct counting n = {c, out};

    memset(out, 0, sizeof *out);
    state_each_key(c->state, "", count_key, &n);
    state_each_identity(c->state, "", count_identity, &n);
}

unsigned tally_certificates(const struct core *c, struct shown_certificate out[static CERTIFICATES_SHOWN])
{
    struct cert_facts ca;
    struct err e = {0};
    unsigned n = 0;

    if (c->state->ca_cert.len && !cert_facts(buf_span(&c->state->ca_cert), &ca, &e))
        out[n++] = (struct shown_certificate){"ca", ca.not_after};
    for (size_t door = 0; door < 2; door++)
        if (c->front[door].not_after)
            out[n++] = (struct shown_certificate){door ? "server-admin" : "server-ci", c->front[door].not_after};
    return n;
}
