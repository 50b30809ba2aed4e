/* When a state snapshot is written, and the record that names it. */
#include "audit/state/snapshot.h"

#include <string.h>

#include "kmsd/core/internal.h"

/* Records since the newest good snapshot or, if another failed since, that attempt. */
static uint64_t records_since(const struct core *c)
{
    uint64_t from = c->snapshot.usable > c->snapshot.seq ? c->snapshot.usable : c->snapshot.seq;

    return c->state->chain.next_seq - from;
}

/* The text is made in one go, between two events: it is a copy of what is in memory anyway. Hash and disk are the host's affair, beside the groups. */
static void begin(struct core *c)
{
    struct buf text = BUF_INIT(SNAPSHOT_BYTES_MAX);
    struct err e = {0};

    c->snapshot.seq = c->state->chain.next_seq;
    if (snapshot_write(c->state, &text, &e)) {
        c->io.note(c->io.ctx, CORE_NOTE_WARNING, "snapshot", e.detail);
        buf_free(&text);
        return;
    }
    c->snapshot.busy = true;
    c->snapshot.bytes = text.len;
    c->io.snapshot(c->io.ctx, c->snapshot.seq, c->snapshot.usable, &text);
}

static bool due(const struct core *c, uint64_t records)
{
    return c->io.snapshot && c->start.snapshot_records && !c->snapshot.busy && records_since(c) >= records;
}

void snapshot_tick(struct core *c)
{
    if (!c->stopping && due(c, c->start.snapshot_records))
        begin(c);
}

bool snapshot_settled(struct core *c)
{
    if (!c->snapshot.stop_tried) {
        c->snapshot.stop_tried = true;
        if (due(c, c->start.snapshot_records < SNAPSHOT_STOP_MIN ? c->start.snapshot_records : SNAPSHOT_STOP_MIN))
            begin(c);
    }
    return !c->snapshot.busy || c->snapshot.waited++ >= SNAPSHOT_STOP_TICKS;
}

void core_on_snapshot(struct core *c, const char *sha256, int64_t now_us)
{
    struct snapshot_ref ref = {.seq = c->snapshot.seq, .bytes = c->snapshot.bytes};
    struct err e = {0};
    json_t *record;

    c->snapshot.busy = false;
    clock_see(c, now_us);
    if (!sha256 || c->stop_written)
        return;
    snapshot_name(ref.seq, ref.file);
    memcpy(ref.sha256, sha256, SHA256_HEX);
    record = record_new("log.snapshot", "ok", &actor_system, "");
    json_object_set_new(record, "detail", snapshot_detail(&ref));
    if (commit(c, record, &e))
        commit_lost(c, "snapshot", &e);
    else {
        c->snapshot.usable = ref.seq;
        c->metrics.snapshot_time = c->now;
    }
}
