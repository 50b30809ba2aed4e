/* When a state snapshot is written, and the record that names it. */
#include "audit/state/snapshot.h"

#include <string.h>

#include "kmsd/core/internal.h"

#define PIECE_US 1000       /* from one piece to the next */
#define STOP_RECORDS 1000   /* that make a snapshot at a stop worth it */
#define STOP_TICKS 50       /* of 100 ms: no stop waits longer */

/* Records since the newest good snapshot or, if another failed since, that attempt. */
static uint64_t records_since(const struct core *c)
{
    uint64_t from = c->snapshot.usable > c->snapshot.seq ? c->snapshot.usable : c->snapshot.seq;

    return c->state->chain.next_seq - from;
}

static void begin(struct core *c)
{
    c->snapshot.seq = c->state->chain.next_seq;
    c->snapshot.busy = true;
    c->snapshot.text = BUF_INIT(SNAPSHOT_BYTES_MAX);
    buf_expect(&c->snapshot.text, c->snapshot.bytes + (c->snapshot.bytes >> 4)); /* as the last one: none of its pieces is moved */
    snapshot_begin(c->state, &c->snapshot.writer, &c->snapshot.text);
    c->state->writer = &c->snapshot.writer;
}

/* The text is a copy of what is in memory, made a piece at a time between events. Hash and disk are the host's affair, beside the groups. */
static void go_on(struct core *c, size_t bytes)
{
    struct err e = {0};
    int more = snapshot_more(&c->snapshot.writer, bytes, &e);

    if (more > 0)
        return;
    c->state->writer = NULL;
    c->snapshot.bytes = c->snapshot.text.len;
    if (!more) {
        c->io.snapshot(c->io.ctx, c->snapshot.seq, c->snapshot.usable, &c->snapshot.text);
        return;
    }
    c->io.note(c->io.ctx, CORE_NOTE_WARNING, "snapshot", e.detail);
    c->snapshot.busy = false;
    buf_free(&c->snapshot.text);
}

int64_t snapshot_turn(struct core *c, int64_t boot_us)
{
    if (!c->state->writer)
        return -1;
    if (boot_us - c->snapshot.piece >= PIECE_US) {
        c->snapshot.piece = boot_us;
        go_on(c, c->start.snapshot_piece);
    }
    return c->state->writer ? c->snapshot.piece + PIECE_US - boot_us : -1;
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
        if (due(c, c->start.snapshot_records < STOP_RECORDS ? c->start.snapshot_records : STOP_RECORDS))
            begin(c);
    }
    if (c->state->writer)
        go_on(c, SIZE_MAX / 2); /* nobody waits any more */
    return !c->snapshot.busy || c->snapshot.waited++ >= STOP_TICKS;
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
