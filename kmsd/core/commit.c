/* The way into the log: seals records into the current group, folds them, and holds back every reply until what it rests on is durable. */
#include <stdlib.h>
#include <string.h>

#include "kmsd/core/internal.h"

/* A policy that a record of this group names is at hand before the disk has it. */
static int blob_at_hand(void *ctx, const char *sha256, struct buf *out, struct err *e)
{
    struct core *c = ctx;

    for (unsigned n = 0; n < c->n_blobs; n++)
        if (!strcmp(c->blob[n].sha256, sha256)) {
            buf_put(out, c->blob[n].data.data, c->blob[n].data.len);
            return buf_ok(out);
        }
    return err_set(e, ERR_INTERNAL, "the body %s is not at hand", sha256);
}

static int may_append(struct core *c, bool kept, struct err *e)
{
    if (c->stop_written)
        return err_set(e, ERR_BUSY, "the service is stopping");
    if (!c->begun && !kept)
        return err_set(e, ERR_LOG_UNAVAILABLE, "the audit log has no room yet for the record of this start");
    if (!c->pending.len)
        c->pending_first = c->state->chain.next_seq;
    return 0;
}

/* A record that the fold refuses must never reach the disk: it would refuse every later start. The state is spent then; the host ends this process. */
static void die(struct core *c, const struct err *e)
{
    c->io.note(c->io.ctx, CORE_NOTE_ALARM, "fold", e->detail);
    abort();
}

static int append(struct core *c, json_t *record, bool kept, struct err *e)
{
    const struct blob_source blobs = {blob_at_hand, c};
    struct chain next = c->state->chain;
    size_t start = c->pending.len;
    JSON_AUTO *owned = record;

    if (!owned)
        return err_set(e, ERR_INTERNAL, "out of memory while building a record");
    if (may_append(c, kept, e) || record_seal(owned, &next, c->now, c->start.boot, &c->pending, e))
        return -1;
    if (room_for(c, 0, kept, e)) {
        c->pending.len = start;
        return -1;
    }
    if (state_apply(c->state, owned, span_of(c->pending.data + start, c->pending.len - start - 1), &blobs, e))
        die(c, e);
    return 0;
}

int commit_signature(struct core *c, const struct record_line *line, struct err *e)
{
    size_t start = c->pending.len;

    if (may_append(c, false, e) || room_for(c, line->text.len + 1, false, e))
        return -1;
    buf_put(&c->pending, line->text.data, line->text.len);
    buf_putc(&c->pending, '\n');
    if (buf_ok(&c->pending)) {
        c->pending.len = start;
        c->pending.failed = false;
        return err_set(e, ERR_BUSY, "the group of records has no room for another one");
    }
    if (state_apply_signature(c->state, line, e))
        die(c, e);
    return 0;
}

int commit(struct core *c, json_t *record, struct err *e)
{
    return append(c, record, false, e);
}

int commit_kept(struct core *c, json_t *record, struct err *e)
{
    return append(c, record, true, e);
}

void commit_lost(struct core *c, const char *event, const struct err *e)
{
    c->io.note(c->io.ctx, e->code == ERR_LOG_UNAVAILABLE ? CORE_NOTE_WARNING : CORE_NOTE_ALARM, event, e->detail);
}

int commit_blob(struct core *c, const char *sha256, struct span data, struct err *e)
{
    struct core_blob *b = &c->blob[c->n_blobs];

    if (c->n_blobs == CORE_BLOBS_MAX)
        return err_set(e, ERR_BUSY, "too many large bodies are being written");
    if (room_for_blob(c, data.len, e))
        return -1;
    b->data = BUF_INIT(FRAME_MAX);
    buf_put(&b->data, data.data, data.len);
    if (buf_ok(&b->data)) {
        buf_free(&b->data);
        return err_set(e, ERR_BUSY, "the service is out of memory");
    }
    memcpy(b->sha256, sha256, SHA256_HEX);
    c->n_blobs++;
    return 0;
}

json_t *record_for(struct core *c, const struct request *rq, const char *event, const char *outcome)
{
    struct actor actor = request_actor(rq);
    json_t *record = record_new(event, outcome, &actor, rq->req);

    (void)c;
    if (!record)
        return NULL;
    record_text(record, "src", rq->src);
    record_text(record, "rule", rq->rule);
    record_text(record, "policy", rq->rule[0] ? rq->policy : "");
    return record;
}

json_t *record_change(struct core *c, const struct request *rq, const char *event, const char *outcome, struct err *e)
{
    json_t *record;

    if (rq->body.len > BODY_INLINE_MAX && commit_blob(c, rq->body_sha256, rq->body, e))
        return NULL;
    record = record_for(c, rq, event, outcome);
    json_object_set(record, "request", rq->evidence);
    record_text(record, "idem", rq->idem);
    record_text(record, "body_sha256", rq->body_sha256);
    return record;
}

static struct after *after_new(struct core *c, unsigned weight)
{
    struct after *a = calloc(1, sizeof *a);

    if (!a)
        abort(); /* losing a reply silently is worse than a restart */
    a->seq = c->state->chain.next_seq;
    a->counts = !c->after_last || c->after_last->seq != a->seq;
    c->n_held += a->counts;
    if (c->after_last)
        c->after_last->next = a;
    else
        c->after_first = a;
    c->after_last = a;
    a->weight = weight;
    c->n_after += weight;
    return a;
}

static void run_due(struct core *c)
{
    struct after *a;

    while ((a = c->after_first) && a->seq <= c->durable) {
        c->after_first = a->next;
        c->n_after -= a->weight;
        c->n_held -= a->counts;
        if (!c->after_first)
            c->after_last = NULL;
        metrics_released(c, a);
        if (a->fn)
            a->fn(c, a->rq);
        else if (c->front[a->door == CHILD_FRONT_ADMIN].epoch == a->front_epoch)
            c->io.send(c->io.ctx, a->door, 0, &a->frame);
        buf_free(&a->frame);
        free(a);
    }
}

void after_reply(struct core *c, struct request *rq, struct buf *frame)
{
    struct after *a;

    if (rq->at_once) {
        c->io.send(c->io.ctx, rq->door, 0, frame);
        return;
    }
    a = after_new(c, 1 + batch_size(rq->items));
    a->door = rq->door;
    a->front_epoch = rq->front_epoch;
    a->arrived = rq->arrived;
    a->sealed = c->clock.boot;
    a->signature = rq->route && rq->route->action == POLICY_SIGN;
    a->frame = *frame;
    *frame = (struct buf){0};
    run_due(c);
}

int after_call(struct core *c, void (*fn)(struct core *c, struct request *rq), struct request *rq)
{
    struct after *a = after_new(c, 1);

    a->fn = fn;
    a->rq = rq;
    return 0;
}

void commit_done(struct core *c)
{
    int64_t took_us = c->clock.boot - c->metrics.handed;

    c->disk_busy = false;
    gather_done(c, took_us);
    c->room.lines -= c->writing.len < c->room.lines ? c->writing.len : c->room.lines;
    c->metrics.groups++;
    c->metrics.records += c->writing_end - c->durable;
    c->metrics.bytes += c->writing.len;
    prom_observe(&c->metrics.sync, took_us);
    c->durable = c->writing_end;
    memcpy(c->durable_hash, c->writing_hash, SHA256_HEX);
    c->durable_time = c->writing_time;
    buf_clear(&c->writing);
    for (unsigned n = 0; n < c->n_writing_blobs; n++)
        buf_free(&c->writing_blob[n].data);
    c->n_writing_blobs = 0;
    run_due(c);
}

int64_t commit_turn(struct core *c, int64_t boot_us)
{
    struct buf lines = c->writing;
    int64_t left;

    if (c->disk_busy || !c->pending.len)
        return -1;
    left = gather_left(c, boot_us);
    if (left)
        return left;
    c->writing = c->pending;
    c->pending = lines;
    c->writing_end = c->state->chain.next_seq;
    memcpy(c->writing_hash, c->state->head, SHA256_HEX);
    c->writing_time = c->state->chain.time;
    memcpy(c->writing_blob, c->blob, sizeof c->blob);
    c->n_writing_blobs = c->n_blobs;
    c->n_blobs = 0;
    c->disk_busy = true;
    c->metrics.handed = boot_us;
    c->io.append(c->io.ctx, &(struct core_group){&c->writing, c->pending_first, c->writing_blob, c->n_writing_blobs});
    return -1;
}

void commit_free(struct core *c)
{
    for (struct after *a = c->after_first, *next; a; a = next) {
        next = a->next;
        buf_free(&a->frame);
        free(a);
    }
    for (unsigned n = 0; n < c->n_blobs; n++)
        buf_free(&c->blob[n].data);
    for (unsigned n = 0; n < c->n_writing_blobs; n++)
        buf_free(&c->writing_blob[n].data);
    buf_free(&c->pending);
    buf_free(&c->writing);
    buf_free(&c->line);
}
