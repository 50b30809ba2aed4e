/* State snapshots of the simulated machine: written beside the log, lost by a kill, and at every start compared with the fold of the whole log. */
#include <string.h>

#include "audit/state/snapshot.h"
#include "tests/sim/sim.h"

void sim_snapshot_take(void *ctx, uint64_t seq, uint64_t keep, struct buf *text)
{
    struct sim *s = ctx;

    if (s->snapshot_busy)
        sim_fail(s, "a second snapshot was handed over while one is under way");
    if (keep >= seq)
        sim_fail(s, "a snapshot covers no more than the one to be kept");
    buf_free(&s->snapshot);
    s->snapshot = *text;
    *text = (struct buf){0};
    s->snapshot_busy = true;
}

void sim_snapshot_lose(struct sim *s)
{
    buf_free(&s->snapshot);
    s->snapshot_busy = false;
}

void sim_snapshot_step(struct sim *s)
{
    char hash[SHA256_HEX];

    if (!s->snapshot_busy)
        return;
    s->snapshot_busy = false;
    if (s->steps % 7 == 0) {
        core_on_snapshot(s->core, NULL, s->now);
        return;
    }
    sha256_hex(s->snapshot.data, s->snapshot.len, hash);
    json_object_set_new(s->snapshots, hash, json_stringn((const char *)s->snapshot.data, s->snapshot.len));
    core_on_snapshot(s->core, hash, s->now);
}

/* The line at `at`, which has its LF: the durable bytes end with a whole record. */
static struct span line_at(const struct sim *s, size_t at)
{
    const uint8_t *lf = memchr(s->durable.data + at, '\n', s->durable.len - at);

    return span_of(s->durable.data + at, (size_t)(lf - s->durable.data) - at);
}

/* The newest one that is named, and where the records that it does not cover begin. */
static bool newest(const struct sim *s, struct snapshot_ref *ref, size_t *behind)
{
    struct err e = {0};
    bool found = false;
    uint64_t seq = 0;

    for (size_t at = 0; at < s->durable.len; at += line_at(s, at).len + 1) {
        struct span line = line_at(s, at);
        JSON_AUTO *record = memmem(line.data, line.len, "log.snapshot", 12) ? json_read_object(line.data, line.len, RECORD_LINE_MAX, &e) : NULL;

        found |= record && !snapshot_ref_of(record, ref, &e);
    }
    *behind = 0;
    for (; found && seq < ref->seq; seq++)
        *behind += line_at(s, *behind).len + 1;
    return found;
}

static struct state *read_on(struct sim *s, const struct snapshot_ref *ref, size_t at, const struct blob_source *blobs)
{
    const json_t *text = json_object_get(s->snapshots, ref->sha256);
    struct err e = {0};
    struct state *state = text ? snapshot_read(span_of(json_string_value(text), json_string_length(text)), blobs, &e) : NULL;

    if (!state)
        sim_fail(s, "the snapshot that record %llu names cannot be read: %s", (unsigned long long)ref->named_by, text ? e.detail : "it is not there");
    while (state && at < s->durable.len && !s->failure[0]) {
        struct span line = line_at(s, at);
        JSON_AUTO *record = json_read_object(line.data, line.len, RECORD_LINE_MAX, &e);

        if (!record || state_apply(state, record, line, blobs, &e))
            sim_fail(s, "the records behind a snapshot do not fold: %s", e.detail);
        at += line.len + 1;
    }
    return state;
}

struct state *sim_snapshot_start(struct sim *s, struct state *whole, const struct blob_source *blobs)
{
    BUF_AUTO a = BUF_INIT(SNAPSHOT_BYTES_MAX);
    BUF_AUTO b = BUF_INIT(SNAPSHOT_BYTES_MAX);
    struct snapshot_ref ref;
    struct err e = {0};
    struct state *state;
    size_t behind;

    s->snapshot_seq = 0;
    if (!newest(s, &ref, &behind) || !(state = read_on(s, &ref, behind, blobs)))
        return whole;
    if (snapshot_write(whole, &a, &e) || snapshot_write(state, &b, &e) || !span_eq(buf_span(&a), buf_span(&b)))
        sim_fail(s, "promise 7: a start from the snapshot of %llu records gives another state than all records", (unsigned long long)ref.seq);
    state_free(whole);
    s->snapshot_seq = ref.seq;
    s->snapshot_starts++;
    return state;
}
