/* Refusals are recorded too: a few singly, the rest of a minute as counts, so that they cannot fill the disk. */
#include <stdlib.h>
#include <string.h>

#include "audit/state/tree.h"
#include "kmsd/core/internal.h"

#define REFUSAL_WINDOW (60 * TIME_SECOND_US)
#define SOURCES_A_NAME 64   /* rows of one name; whatever else it does counts as one row more */
#define ITEMS_A_SUMMARY 128 /* fit a record at any length of their texts */

static void fill(char *out, size_t size, const char *text)
{
    size_t n = strnlen(text, size - 1);

    memcpy(out, text, n);
    out[n] = '\0';
}

struct counting {
    const char *name;
    unsigned n;
};

static bool count_name(void *ctx, void *node)
{
    struct counting *k = ctx;

    k->n += !strcmp(((const struct refusal *)node)->name, k->name);
    return true;
}

static bool from_everywhere(const struct core *c, const char *name)
{
    struct counting k = {.name = name};

    tree_each(c->refusals, "", count_name, &k);
    return k.n >= SOURCES_A_NAME;
}

static struct refusal *find(struct core *c, const char *name, const char *cred, const char *src, struct buf *id)
{
    buf_clear(id);
    buf_printf(id, "%s\n%s\n%s", name, cred, src);
    return tree_find(&c->refusals, buf_str(id));
}

/* One who changes his address or certificate each time neither fills the log nor uses up the rows of others. */
static struct refusal *row(struct core *c, const char *name, const char *cred, const char *src)
{
    BUF_AUTO id = BUF_INIT(sizeof((struct refusal *)0)->id - 1);
    struct refusal *r = find(c, name, cred, src, &id);

    if (!r && from_everywhere(c, name)) {
        cred = src = "";
        r = find(c, name, cred, src, &id);
    }
    if (r || c->n_refusals >= REFUSAL_ROWS_MAX)
        return r;
    r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    fill(r->id, sizeof r->id, buf_str(&id));
    fill(r->name, sizeof r->name, name);
    fill(r->cred, sizeof r->cred, cred);
    fill(r->src, sizeof r->src, src);
    if (tree_add(&c->refusals, r)) {
        free(r);
        return NULL;
    }
    c->n_refusals++;
    return r;
}

void refusal_count(struct core *c, const char *name, const char *cred, const char *src, const char *reason, uint64_t n)
{
    struct refusal *r = row(c, name, cred, src);

    if (!r) {
        c->refusals_beyond += n > UINT32_MAX ? UINT32_MAX : n;
        return;
    }
    fill(r->reason, sizeof r->reason, reason);
    r->over = n > UINT32_MAX - r->over ? UINT32_MAX : r->over + (unsigned)n;
}

/* What the request was about, as far as it was understood. */
static json_t *describe(struct core *c, struct request *rq, const struct err *e)
{
    const char *event = rq->route && rq->identity[0] ? rq->route->event : "auth.refused";
    json_t *record = record_for(c, rq, event, err_status(e->code) >= 500 ? "error" : "denied");
    const struct sign_request *s = &rq->sign;

    record_text(record, "reason", err_slug(e->code));
    if (s->key)
        json_object_set_new(record, "key", json_pack("{s:s}", "name", s->key));
    if (s->app && s->channel && s->version)
        json_object_set_new(record, "artifact", record_artifact(s->app, s->channel, s->version));
    if (s->digest)
        json_object_set_new(record, "digest", json_pack("{s:s, s:s}", "alg", s->alg, "hex", s->digest));
    return record;
}

void refusal_record(struct core *c, struct request *rq, struct err *e)
{
    struct refusal *r = row(c, rq->identity, rq->cred, rq->src);
    struct err failed = {0};

    if (c->stop_written)
        return;
    if (!r) {
        c->refusals_beyond++;
        return;
    }
    if (r->seen < REFUSALS_A_MINUTE) {
        if (!commit(c, describe(c, rq, e), &failed))
            r->seen++;
        else if (failed.code == ERR_LOG_UNAVAILABLE)
            *e = failed;
        else
            commit_lost(c, "refusal", &failed);
        return;
    }
    refusal_count(c, rq->identity, rq->cred, rq->src, err_slug(e->code), 1);
}

struct summary {
    struct core *c;
    json_t *items;
};

static void write_summary(struct summary *s)
{
    struct core *c = s->c;
    json_t *record = record_new("refusal.summary", "ok", &actor_system, "");
    struct err e = {0};

    json_object_set_new(record, "detail", json_pack("{s:o, s:I}", "items", s->items, "others", (json_int_t)c->refusals_beyond));
    c->refusals_beyond = 0;
    s->items = json_array();
    if (commit(c, record, &e))
        commit_lost(c, "refusal", &e);
}

static bool add_item(void *ctx, void *node)
{
    struct summary *s = ctx;
    const struct refusal *r = node;

    if (r->over)
        json_array_append_new(s->items, json_pack("{s:I, s:s, s:s, s:s, s:s}", "count", (json_int_t)r->over, "cred", r->cred, "name", r->name, "reason",
                                                  r->reason, "src", r->src));
    if (json_array_size(s->items) == ITEMS_A_SUMMARY)
        write_summary(s);
    return true;
}

void refusals_summarise(struct core *c, bool force)
{
    struct summary s = {.c = c};

    if (!force && (c->clock.boot - c->refusal_window < REFUSAL_WINDOW || c->full || !c->begun))
        return;
    c->refusal_window = c->clock.boot;
    s.items = json_array();
    tree_each(c->refusals, "", add_item, &s);
    tree_free(&c->refusals, free);
    c->n_refusals = 0;
    if (json_array_size(s.items) || c->refusals_beyond)
        write_summary(&s);
    json_decref(s.items);
}
