/* Refusals are recorded too: a few singly, the rest of a minute as counts, so that they cannot fill the disk. */
#include <stdlib.h>
#include <string.h>

#include "audit/state/tree.h"
#include "kmsd/core/internal.h"

#define REFUSAL_WINDOW (60 * TIME_SECOND_US)

static void fill(char *out, size_t size, const char *text)
{
    size_t n = strnlen(text, size - 1);

    memcpy(out, text, n);
    out[n] = '\0';
}

static struct refusal *row(struct core *c, const char *name, const char *cred, const char *src)
{
    BUF_AUTO id = BUF_INIT(sizeof((struct refusal *)0)->id - 1);
    struct refusal *r;

    buf_printf(&id, "%s\n%s\n%s", name, cred, src);
    r = tree_find(&c->refusals, buf_str(&id));
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
        c->refusals_beyond += n;
        return;
    }
    fill(r->reason, sizeof r->reason, reason);
    r->over += n > UINT32_MAX - r->over ? 0 : (unsigned)n;
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
        json_object_set_new(record, "digest", json_pack("{s:s, s:s}", "alg", "sha256", "hex", s->digest));
    return record;
}

void refusal_record(struct core *c, struct request *rq, const struct err *e)
{
    struct refusal *r = row(c, rq->identity, rq->cred, rq->src);
    struct err ignored = {0};

    if (c->stop_written)
        return;
    if (!r) {
        c->refusals_beyond++;
        return;
    }
    if (r->seen < REFUSALS_A_MINUTE) {
        r->seen++;
        if (commit(c, describe(c, rq, e), &ignored))
            c->io.note(c->io.ctx, CORE_NOTE_ALARM, "refusal", ignored.detail);
        return;
    }
    refusal_count(c, rq->identity, rq->cred, rq->src, err_slug(e->code), 1);
}

static bool add_item(void *ctx, void *node)
{
    const struct refusal *r = node;

    if (r->over)
        json_array_append_new(ctx, json_pack("{s:I, s:s, s:s, s:s, s:s}", "count", (json_int_t)r->over, "cred", r->cred, "name", r->name, "reason", r->reason,
                                             "src", r->src));
    return true;
}

void refusals_summarise(struct core *c, bool force)
{
    struct err e = {0};
    JSON_AUTO *items = NULL;
    json_t *record;

    if (!force && c->now - c->refusal_window < REFUSAL_WINDOW)
        return;
    c->refusal_window = c->now;
    items = json_array();
    tree_each(c->refusals, "", add_item, items);
    tree_free(&c->refusals, free);
    c->n_refusals = 0;
    if (!json_array_size(items) && !c->refusals_beyond)
        return;
    record = record_new("refusal.summary", "ok", &actor_system, "");
    json_object_set_new(record, "detail", json_pack("{s:O, s:I}", "items", items, "others", (json_int_t)c->refusals_beyond));
    c->refusals_beyond = 0;
    if (commit(c, record, &e))
        c->io.note(c->io.ctx, CORE_NOTE_ALARM, "refusal", e.detail);
}
