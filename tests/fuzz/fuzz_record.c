/* Fuzzes lines of the log: both readers, the fold and that of kms-audit, take them without a crash; a line that the fold accepts is canonical and follows; what it
 * makes of a signature's record by its line alone is what it makes of it by its tree. The input is taken once as it is, once as the members of a record whose place in the chain is right. */
#include <stdlib.h>
#include <string.h>

#include "audit/state/snapshot.h"
#include "audit/verify/schema.h"
#include "tests/sim/sim.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct sim *world;

static int no_blob(void *ctx, const char *sha256, struct buf *out, struct err *e)
{
    const char *text = json_string_value(json_object_get(world->blobs, sha256));

    (void)ctx;
    if (!text)
        return err_set(e, ERR_LOG_UNAVAILABLE, "no such blob");
    buf_puts(out, text);
    return 0;
}

static struct state *begin(void)
{
    const struct blob_source blobs = {no_blob, NULL};
    struct state *s = state_new();
    const char *at = (const char *)world->durable.data, *end = at + world->durable.len;
    struct err e = {0};

    for (const char *lf; at < end && (lf = memchr(at, '\n', (size_t)(end - at))); at = lf + 1) {
        JSON_AUTO *record = json_read_object(at, (size_t)(lf - at), RECORD_LINE_MAX, &e);

        if (state_apply(s, record, span_of(at, (size_t)(lf - at)), &blobs, &e))
            abort();
    }
    return s;
}

static void require(bool holds)
{
    if (!holds)
        abort();
}

static bool same(const struct state *a, const struct state *b)
{
    BUF_AUTO left = BUF_INIT(1 << 20), right = BUF_INIT(1 << 20);
    struct err e = {0};

    require(!snapshot_write(a, &left, &e) && !snapshot_write(b, &right, &e));
    return span_eq(buf_span(&left), buf_span(&right));
}

/* The line alone may be refused for more reasons, such as an escape, but never taken for fewer, nor otherwise. */
static void apply_line(struct span line, const struct state *by_tree, bool taken)
{
    struct state *s = begin();
    struct record_line read;
    struct err e = {0};

    require(!record_line_read(line, &read, &e));
    if (!state_apply_signature(s, &read, &e))
        require(taken && same(s, by_tree));
    state_free(s);
}

static void apply(struct span line)
{
    const struct blob_source blobs = {no_blob, NULL};
    struct err e = {0};
    enum event event;
    enum outcome outcome;
    JSON_AUTO *record = !json_is_canonical(line.data, line.len) ? json_read_object(line.data, line.len, RECORD_LINE_MAX, &e) : NULL;
    struct state *s;
    uint64_t next;
    bool taken;

    if (!record)
        return;
    (void)!schema_check(record, &event, &outcome, &e);
    s = begin();
    next = s->chain.next_seq;
    taken = !state_apply(s, record, line, &blobs, &e);
    require(!taken || s->chain.next_seq == next + 1);
    apply_line(line, s, taken);
    state_free(s);
}

static void apply_in_place(struct span line)
{
    BUF_AUTO text = BUF_INIT(RECORD_LINE_MAX);
    struct err e = {0};
    JSON_AUTO *record = json_read_object(line.data, line.len, RECORD_LINE_MAX, &e);
    struct state *s;

    if (!record)
        return;
    s = begin();
    json_object_set_new(record, "seq", json_integer((json_int_t)s->chain.next_seq));
    json_object_set_new(record, "prev", json_string(s->chain.prev));
    json_object_set_new(record, "time", json_string("2030-01-01T00:00:00.000000Z"));
    json_object_set_new(record, "v", json_integer(1));
    state_free(s);
    json_canonical(&text, record);
    if (!buf_ok(&text))
        apply(buf_span(&text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct sim_keys keys;

    if (!world) {
        json_object_seed(1);
        sim_keys_make(&keys);
        world = sim_new(&keys, 1);
    }
    apply(span_of(data, size));
    apply_in_place(span_of(data, size));
    return 0;
}
