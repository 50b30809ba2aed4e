/* Tests of audit/state/snapshot.c and snapread.c: a state, its snapshot and the state read back are the same thing. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "audit/state/internal.h"
#include "audit/state/snapshot.h"
#include "audit/state/tree.h"
#include "tests/longlog/records.h"

#define TEXT_MAX (64u << 20)

static struct state *fold_to(const struct records *g, struct state *s, size_t from, size_t upto)
{
    const struct blob_source blobs = records_blobs(g);
    size_t at = from;

    while (at < upto) {
        const uint8_t *lf = memchr(g->lines.data + at, '\n', g->lines.len - at);
        struct span line = span_of(g->lines.data + at, (size_t)(lf - g->lines.data) - at);
        struct err e = {0};
        JSON_AUTO *record = json_read_object(line.data, line.len, RECORD_LINE_MAX, &e);

        if (!record || state_apply(s, record, line, &blobs, &e))
            fail_msg("%s", e.detail);
        at += line.len + 1;
    }
    return s;
}

static void write_text(const struct state *s, struct buf *out)
{
    struct err e = {0};

    if (snapshot_write(s, out, &e))
        fail_msg("%s", e.detail);
}

static struct state *read_text(const struct records *g, struct span text)
{
    const struct blob_source blobs = records_blobs(g);
    struct err e = {0};
    struct state *s = snapshot_read(text, &blobs, &e);

    if (!s)
        fail_msg("%s", e.detail);
    return s;
}

static void same(const struct buf *a, const struct buf *b)
{
    assert_int_equal(a->len, b->len);
    assert_memory_equal(a->data, b->data, a->len);
}

static bool same_identity(void *ctx, void *node)
{
    const struct identity *a = node, *b = state_identity(ctx, a->name);

    assert_non_null(b);
    assert_string_equal(a->kind, b->kind);
    assert_string_equal(a->created, b->created);
    assert_true(a->founder == b->founder && a->enabled == b->enabled && a->n_credentials == b->n_credentials && a->n_ssh == b->n_ssh);
    for (unsigned n = 0; n < a->n_ssh; n++)
        assert_string_equal(a->ssh[n], b->ssh[n]);
    for (unsigned n = 0; n < a->n_credentials; n++) {
        const struct credential *x = &a->credential[n], *y = &b->credential[n];

        assert_true(x->kind == y->kind && x->issued == y->issued && span_eq(buf_span(&x->ca_spki), buf_span(&y->ca_spki)));
        assert_string_equal(x->cert_sha256, y->cert_sha256);
        assert_string_equal(x->spki_sha256, y->spki_sha256);
        assert_string_equal(x->not_after, y->not_after);
        assert_string_equal(x->value, y->value);
        assert_string_equal(x->ca_spki_sha256, y->ca_spki_sha256);
    }
    return true;
}

static bool same_credential(void *ctx, void *node)
{
    const struct credential_ref *a = node;
    const struct identity *b = state_credential(ctx, a->id);

    assert_non_null(b);
    assert_string_equal(a->identity->name, b->name);
    return true;
}

static bool same_key(void *ctx, void *node)
{
    const struct key *a = node, *b = state_key(ctx, a->name);

    assert_non_null(b);
    assert_true(a->version == b->version && a->active == b->active && a->intent_seq == b->intent_seq && span_eq(buf_span(&a->spki), buf_span(&b->spki)));
    assert_string_equal(a->algorithm, b->algorithm);
    assert_string_equal(a->scheme, b->scheme);
    assert_string_equal(a->purpose, b->purpose);
    assert_string_equal(a->created, b->created);
    assert_string_equal(a->key_id, b->key_id);
    assert_string_equal(a->keyid, b->keyid);
    assert_true(a->state == b->state && a->before == b->before && a->erase_seq == b->erase_seq);
    assert_string_equal(a->since, b->since);
    assert_string_equal(a->compromised, b->compromised);
    assert_string_equal(a->due, b->due);
    return true;
}

static bool same_release(void *ctx, void *node)
{
    const struct release *a = node, *b = mark_release(ctx, a->name);

    assert_non_null(b);
    assert_string_equal(a->digest, b->digest);
    assert_string_equal(a->key, b->key);
    assert_string_equal(a->line, b->line);
    return true;
}

static bool same_mark(void *ctx, void *node)
{
    const struct mark *a = node;
    const struct state *s = ctx;
    const struct mark *b = tree_find(&s->marks, a->id);

    assert_non_null(b);
    assert_string_equal(a->version, b->version);
    assert_int_equal(a->withdrawn, b->withdrawn);
    tree_each(a->releases, "", same_release, (void *)(uintptr_t)b);
    return true;
}

/* Whatever a has, b has too. */
static void has_all(const struct state *a, const struct state *b)
{
    void *ctx = (void *)(uintptr_t)b;

    tree_each(a->identities, "", same_identity, ctx);
    tree_each(a->credentials, "", same_credential, ctx);
    tree_each(a->keys, "", same_key, ctx);
    tree_each(a->marks, "", same_mark, ctx);
    assert_memory_equal(&a->chain, &b->chain, sizeof a->chain);
    assert_string_equal(a->head, b->head);
    assert_true(a->genesis && b->genesis && a->policy_seq == b->policy_seq && a->snapshot_seq == b->snapshot_seq);
    assert_string_equal(a->instance, b->instance);
    assert_string_equal(a->origin, b->origin);
    assert_string_equal(a->mode, b->mode);
    assert_string_equal(a->policy_time, b->policy_time);
    assert_string_equal(a->reconcile_sha256, b->reconcile_sha256);
    assert_string_equal(a->server_sha256, b->server_sha256);
    assert_true(a->time_frozen == b->time_frozen && a->time_step == b->time_step);
    assert_true(span_eq(buf_span(&a->ca_spki), buf_span(&b->ca_spki)) && span_eq(buf_span(&a->ca_cert), buf_span(&b->ca_cert)) &&
                span_eq(buf_span(&a->ca_before), buf_span(&b->ca_before)));
}

/* Member by member: the texts alone would not show what both of them leave out. */
static void same_state(const struct state *a, const struct state *b)
{
    const struct stored *x = a->stored_first, *y = b->stored_first;

    has_all(a, b);
    has_all(b, a);
    for (; x && y; x = x->next, y = y->next) {
        assert_string_equal(x->id, y->id);
        assert_string_equal(x->body_sha256, y->body_sha256);
        assert_string_equal(x->line, y->line);
        assert_string_equal(x->owner->name, y->owner->name);
        assert_int_equal(x->owner->count, y->owner->count);
        assert_true(x->time == y->time && x->seq == y->seq && state_stored(b, x->id) == y);
    }
    assert_true(!x && !y && !a->stored_first == !a->stored_last && !b->stored_first == !b->stored_last);
    assert_int_equal(a->n_stored, b->n_stored);
    assert_int_equal(a->n_identities, b->n_identities);
    assert_int_equal(a->n_keys, b->n_keys);
    assert_string_equal(a->policy_sha256, b->policy_sha256);
    assert_true(span_eq(buf_span(&a->policy_text), buf_span(&b->policy_text)) && a->policy && b->policy);
    assert_memory_equal(&a->reset, &b->reset, sizeof a->reset);
    assert_string_equal(a->reconcile_sha256, b->reconcile_sha256);
}

/* For many sequences and points in them: state → text → state → text is the same text, and the rest of the log leads both states to the same one. */
static void round_trips(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 25; seed++) {
        struct records g;
        struct state *whole = state_new();
        BUF_AUTO end = BUF_INIT(TEXT_MAX);

        records_begin(&g, seed);
        records_add(&g, 300);
        fold_to(&g, whole, 0, g.lines.len);
        write_text(whole, &end);
        for (unsigned cut = 0; cut < 12; cut++) {
            size_t at = records_offset(&g, records_random(&g, g.n_records) + 1);
            BUF_AUTO first = BUF_INIT(TEXT_MAX);
            BUF_AUTO second = BUF_INIT(TEXT_MAX);
            BUF_AUTO third = BUF_INIT(TEXT_MAX);
            struct state *s = fold_to(&g, state_new(), 0, at), *again;

            write_text(s, &first);
            again = read_text(&g, buf_span(&first));
            write_text(again, &second);
            same(&first, &second);
            same_state(s, again);
            fold_to(&g, again, at, g.lines.len);
            write_text(again, &third);
            same(&end, &third);
            same_state(whole, again);
            state_free(s);
            state_free(again);
        }
        state_free(whole);
        records_end(&g);
    }
}

/* Records between two pieces of the text leave no trace in it, not even those by which answers leave the state that were to be written yet. */
static void in_pieces(void **state)
{
    uint64_t left_early = 0;

    (void)state;
    for (unsigned seed = 1; seed <= 25; seed++) {
        struct records g;

        records_begin(&g, seed);
        records_add(&g, 300);
        for (unsigned cut = 0; cut < 12; cut++) {
            size_t at = records_offset(&g, records_random(&g, g.n_records) + 1), next;
            BUF_AUTO whole = BUF_INIT(TEXT_MAX);
            BUF_AUTO pieces = BUF_INIT(TEXT_MAX);
            struct state *s = fold_to(&g, state_new(), 0, at);
            struct snapshot_writer w;
            struct err e = {0};
            int more = 1;

            write_text(s, &whole);
            snapshot_begin(s, &w, &pieces);
            s->writer = &w;
            while (more > 0) {
                if (at < g.lines.len && records_random(&g, 4)) {
                    uint64_t before = w.left;

                    next = at + (size_t)((const uint8_t *)memchr(g.lines.data + at, '\n', g.lines.len - at) - (g.lines.data + at)) + 1;
                    fold_to(&g, s, at, next);
                    at = next;
                    left_early += before - w.left;
                    continue;
                }
                more = snapshot_more(&w, 1 + records_random(&g, 2000), &e);
            }
            s->writer = NULL;
            assert_int_equal(more, 0);
            same(&whole, &pieces);
            state_free(s);
        }
        records_end(&g);
    }
    assert_true(left_early > 100);
}

/* The sequences have everything in them that a snapshot has a line for. */
static void sequences_are_rich(void **state)
{
    static const char *const parts[] = {"\"kind\":\"identity\"", "\"enabled\":false", "\"founder\":false", "\"kind\":\"key\"", "{\"active\":false,",
                                        "\"kind\":\"mark\"", "\"withdrawn\":true", "\"releases\":1", "\"releases\":2", "\"event\":\"sign.release\"",
                                        "\"event\":\"identity.create\"", "\"event\":\"key.create\"", "\"kind\":\"spiffe\"", "\"previous\":0",
                                        "\"kind\":\"reset\"", "\"kind\":\"token\"", "\"kind\":\"clock\"", "\"state\":\"suspended\"",
                                        "\"state\":\"retired\"", "\"state\":\"destroying\"", "\"state\":\"destroyed\"", "\"before\":\"suspended\"",
                                        "\"before\":\"retired\"", "\"compromised\":\"2"};
    bool seen[sizeof parts / sizeof *parts] = {0};

    (void)state;
    for (unsigned seed = 1; seed <= 25; seed++) {
        struct records g;
        struct state *s = state_new();
        BUF_AUTO text = BUF_INIT(TEXT_MAX);

        records_begin(&g, seed);
        records_add(&g, 300);
        write_text(fold_to(&g, s, 0, g.lines.len), &text);
        for (size_t n = 0; n < sizeof parts / sizeof *parts; n++)
            seen[n] |= memmem(text.data, text.len, parts[n], strlen(parts[n])) != NULL;
        state_free(s);
        records_end(&g);
    }
    for (size_t n = 0; n < sizeof parts / sizeof *parts; n++)
        if (!seen[n])
            fail_msg("no snapshot has %s", parts[n]);
}

/* Every byte of a snapshot matters: whatever is changed, it is refused or describes another state that is written that way. */
static void altered_text(void **state)
{
    struct records g;
    struct state *s = state_new();
    const struct blob_source blobs = records_blobs(&g);
    BUF_AUTO text = BUF_INIT(TEXT_MAX);
    unsigned accepted = 0;

    (void)state;
    records_begin(&g, 7);
    records_add(&g, 60);
    write_text(fold_to(&g, s, 0, g.lines.len), &text);
    for (size_t at = 0; at < text.len; at += 17 + at % 41) {
        struct err e = {0};
        BUF_AUTO again = BUF_INIT(TEXT_MAX);
        uint8_t was = text.data[at];
        struct state *other;

        text.data[at] = (uint8_t)(was ^ (1u << at % 7));
        other = snapshot_read(buf_span(&text), &blobs, &e);
        if (other) {
            write_text(other, &again);
            same(&text, &again);
            accepted++;
        } else {
            assert_true(e.code != ERR_NONE && e.detail[0]);
        }
        state_free(other);
        text.data[at] = was;
        /* A part of it is none. */
        assert_null(snapshot_read(span_of(text.data, at), &blobs, &e));
    }
    assert_true(accepted < text.len / 40);
    state_free(s);
    records_end(&g);
}

static const struct {
    const char *what, *with; /* the first occurrence is replaced */
} EDITS[] = {
    {"{\"format\":2,", "{\"format\":1,"},
    {"{\"format\":2,", "{\"extra\":1,\"format\":2,"},
    {"\"kind\":\"snapshot\"", "\"kind\":\"genesis\""},
    {"\"kind\":\"genesis\"", "\"kind\":\"gnesis\""},
    {"\"kind\":\"genesis\"", "\"kind\":\"genesis\",\"kinds\":1"},
    {"{\"ca_cert_b64\"", "{ \"ca_cert_b64\""},
    {"\"enabled\":true", "\"enabled\":1"},
    {"\"founder\":true,", ""},
    {"\"kind\":\"stored\"", "\"kind\":\"mark\""},
    {"\"records\":", "\"records\":1"},
    {"{\"kind\":\"end\",\"lines\":", "{\"kind\":\"end\",\"lines\":1"},
    {"{\"kind\":\"end\"", "\n{\"kind\":\"end\""},
    {"\"withdrawn\":false}", "\"withdrawn\":null}"},
    {"\"releases\":", "\"releases\":1"},
    {"\"spki_b64\":\"", "\"spki_b64\":\"*"},
    {"\"state\":\"", "\"state\":\"x"},
    {"\"before\":\"", "\"before\":0,\"was\":\""},
    {"\"erase_seq\":", "\"erase_seq\":-"},
    {"\"algorithm\":\"p256\"", "\"algorithm\":\"p256-and-a-long-name\""},
};

static void edits_are_refused(void **state)
{
    struct records g;
    struct state *s = state_new();
    const struct blob_source blobs = records_blobs(&g);
    BUF_AUTO text = BUF_INIT(TEXT_MAX);

    (void)state;
    records_begin(&g, 3);
    records_add(&g, 200);
    write_text(fold_to(&g, s, 0, g.lines.len), &text);
    for (size_t n = 0; n < sizeof EDITS / sizeof *EDITS; n++) {
        const uint8_t *at = memmem(text.data, text.len, EDITS[n].what, strlen(EDITS[n].what));
        BUF_AUTO edited = BUF_INIT(TEXT_MAX);
        struct err e = {0};
        size_t before;

        if (!at)
            fail_msg("edit %zu: %s is not there", n, EDITS[n].what);
        before = (size_t)(at - text.data);
        buf_put(&edited, text.data, before);
        buf_puts(&edited, EDITS[n].with);
        before += strlen(EDITS[n].what);
        buf_put(&edited, text.data + before, text.len - before);
        if (snapshot_read(buf_span(&edited), &blobs, &e))
            fail_msg("edit %zu is taken: %s", n, EDITS[n].with);
    }
    buf_puts(&text, "\n");
    struct err e = {0};
    assert_null(snapshot_read(buf_span(&text), &blobs, &e));
    state_free(s);
    records_end(&g);
}

/* A line twice, or two lines in another order, are refused wherever it is. */
static void lines_twice_or_swapped(void **state)
{
    struct records g;
    struct state *s = state_new();
    const struct blob_source blobs = records_blobs(&g);
    BUF_AUTO text = BUF_INIT(TEXT_MAX);

    (void)state;
    records_begin(&g, 5);
    records_add(&g, 120);
    write_text(fold_to(&g, s, 0, g.lines.len), &text);
    for (size_t at = 0; at < text.len;) {
        size_t end = (size_t)((uint8_t *)memchr(text.data + at, '\n', text.len - at) - text.data) + 1;
        size_t next = end < text.len ? (size_t)((uint8_t *)memchr(text.data + end, '\n', text.len - end) - text.data) + 1 : end;
        BUF_AUTO twice = BUF_INIT(TEXT_MAX);
        BUF_AUTO swapped = BUF_INIT(TEXT_MAX);
        struct err e = {0};

        buf_put(&twice, text.data, end);
        buf_put(&twice, text.data + at, text.len - at);
        assert_null(snapshot_read(buf_span(&twice), &blobs, &e));
        buf_put(&swapped, text.data, at);
        buf_put(&swapped, text.data + end, next - end);
        buf_put(&swapped, text.data + at, end - at);
        buf_put(&swapped, text.data + next, text.len - next);
        if (next > end)
            assert_null(snapshot_read(buf_span(&swapped), &blobs, &e));
        at = end;
    }
    state_free(s);
    records_end(&g);
}

static void another_policy_is_refused(void **state)
{
    struct records g;
    struct state *s = state_new();
    const struct blob_source blobs = records_blobs(&g);
    BUF_AUTO text = BUF_INIT(TEXT_MAX);
    struct err e = {0};

    (void)state;
    records_begin(&g, 1);
    write_text(fold_to(&g, s, 0, g.lines.len), &text);
    g.altered_blobs = true;
    assert_null(snapshot_read(buf_span(&text), &blobs, &e));
    assert_non_null(strstr(e.detail, "was altered"));
    state_free(s);
    records_end(&g);
}

static void named_snapshots(void **state)
{
    struct records g;
    struct state *s = state_new();
    const struct blob_source blobs = records_blobs(&g);
    struct snapshot_ref ref = {.seq = 1, .bytes = 10}, out;
    BUF_AUTO line = BUF_INIT(RECORD_LINE_MAX + 1);
    struct err e = {0};

    (void)state;
    records_begin(&g, 1);
    fold_to(&g, s, 0, g.lines.len);
    snapshot_name(ref.seq, ref.file);
    assert_string_equal(ref.file, "00000000000000000001.jsonl");
    memcpy(ref.sha256, s->head, SHA256_HEX);
    for (unsigned n = 0; n < 2; n++) { /* the second time it is no newer one */
        JSON_AUTO *record = record_new("log.snapshot", "ok", &actor_system, "");
        struct chain chain = s->chain;

        json_object_set_new(record, "detail", snapshot_detail(&ref));
        buf_clear(&line);
        assert_int_equal(record_seal(record, &chain, 0, "00", &line, &e), 0);
        assert_int_equal(snapshot_ref_of(record, &out, &e), 0);
        assert_true(out.seq == 1 && out.bytes == 10 && out.named_by == s->chain.next_seq && !strcmp(out.sha256, s->head) == !n);
        assert_int_equal(state_apply(s, record, span_of(line.data, line.len - 1), &blobs, &e), n ? -1 : 0);
    }
    assert_int_equal(s->snapshot_seq, 1);
    state_free(s);
    records_end(&g);
}

static int apply_clock(struct records *g, struct state *s, const char *event, json_t *detail)
{
    const struct blob_source blobs = records_blobs(g);
    JSON_AUTO *record = record_new(event, "ok", &actor_system, "");
    BUF_AUTO line = BUF_INIT(RECORD_LINE_MAX + 1);
    struct chain chain = s->chain;
    struct err e = {0};

    json_object_set_new(record, "detail", detail);
    assert_int_equal(record_seal(record, &chain, 0, "00", &line, &e), 0);
    return state_apply(s, record, span_of(line.data, line.len - 1), &blobs, &e);
}

/* The newest step counts, only that one can be confirmed, and only once. Each case ends with a state that is spent. */
static void steps_of_the_clock(void **state)
{
    static const struct {
        unsigned steps;
        int confirm[2], result[2];
    } cases[] = {{0, {0, -1}, {-1, 0}}, {0, {1, -1}, {-1, 0}}, {1, {1, 1}, {0, -1}}, {1, {2, -1}, {-1, 0}}, {2, {1, -1}, {-1, 0}}, {2, {2, -1}, {0, 0}}};

    (void)state;
    for (size_t n = 0; n < sizeof cases / sizeof *cases; n++) {
        struct records g;
        struct state *s = state_new();

        records_begin(&g, 1);
        fold_to(&g, s, 0, g.lines.len);
        for (unsigned k = 0; k < cases[n].steps; k++)
            assert_int_equal(apply_clock(&g, s, "time.step", json_object()), 0);
        assert_true(s->time_frozen == (cases[n].steps > 0) && s->time_step == cases[n].steps);
        for (unsigned k = 0; k < 2 && cases[n].confirm[k] >= 0; k++) {
            assert_int_equal(apply_clock(&g, s, "time.confirm", json_pack("{s:i}", "seq", cases[n].confirm[k])), cases[n].result[k]);
            assert_true(cases[n].result[k] || (!s->time_frozen && !s->time_step));
        }
        state_free(s);
        records_end(&g);
    }
}

/* A snapshot tells of a step that it covers, or of none. */
static void a_step_that_is_not_covered(void **state)
{
    static const char *const steps[] = {"\"step\":0}", "\"step\":2}", "\"step\":-1}", "\"step\":\"1\"}", "\"stop\":1}"};
    struct records g;
    struct state *s = state_new();
    const struct blob_source blobs = records_blobs(&g);
    BUF_AUTO text = BUF_INIT(TEXT_MAX);
    const uint8_t *at;

    (void)state;
    records_begin(&g, 1);
    fold_to(&g, s, 0, g.lines.len);
    assert_int_equal(apply_clock(&g, s, "time.step", json_object()), 0);
    write_text(s, &text);
    at = memmem(text.data, text.len, "\"step\":1}", 9);
    assert_non_null(at);
    for (size_t n = 0; n < sizeof steps / sizeof *steps; n++) {
        BUF_AUTO edited = BUF_INIT(TEXT_MAX);
        struct err e = {0};

        buf_put(&edited, text.data, (size_t)(at - text.data));
        buf_puts(&edited, steps[n]);
        buf_put(&edited, at + 9, text.len - (size_t)(at - text.data) - 9);
        assert_null(snapshot_read(buf_span(&edited), &blobs, &e));
    }
    state_free(read_text(&g, buf_span(&text)));
    state_free(s);
    records_end(&g);
}

/* One CA before the newest stays good, and a snapshot knows it. */
static void another_ca(void **state)
{
    struct records g;
    struct state *s = state_new();

    (void)state;
    records_begin(&g, 1);
    fold_to(&g, s, 0, g.lines.len);
    assert_int_equal(s->ca_before.len, 0);
    for (unsigned n = 0; n < 3; n++) {
        const char *const spki[] = {"QUFB", "QkJC", "Q0ND"};
        BUF_AUTO text = BUF_INIT(TEXT_MAX), before = BUF_INIT(4096);
        struct state *again;

        buf_put(&before, s->ca_spki.data, s->ca_spki.len);
        assert_int_equal(apply_clock(&g, s, "ca.renew", json_pack("{s:{s:s, s:s}}", "ca", "cert_b64", "REREREQ=", "spki_b64", spki[n])), 0);
        assert_true(span_eq(buf_span(&s->ca_before), buf_span(&before)) && s->ca_spki.len == 3);
        write_text(s, &text);
        again = read_text(&g, buf_span(&text));
        same_state(s, again);
        state_free(again);
    }
    assert_int_equal(apply_clock(&g, s, "ca.renew", json_pack("{s:{s:s, s:s}}", "ca", "cert_b64", "?", "spki_b64", "QUFB")), -1);
    state_free(s);
    records_end(&g);
}

/* Which certificate of the doors was recorded last, a snapshot knows too. */
static void another_certificate_of_the_doors(void **state)
{
    struct records g;
    struct state *s = state_new(), *again;
    BUF_AUTO text = BUF_INIT(TEXT_MAX);

    (void)state;
    records_begin(&g, 1);
    fold_to(&g, s, 0, g.lines.len);
    assert_string_equal(s->server_sha256, "");
    assert_int_equal(apply_clock(&g, s, "server.renew", json_pack("{s:s}", "certificate_b64", "QUFB")), 0);
    assert_string_equal(s->server_sha256, "cb1ad2119d8fafb69566510ee712661f9f14b83385006ef92aec47f523a38358");
    write_text(s, &text);
    again = read_text(&g, buf_span(&text));
    same_state(s, again);
    state_free(again);
    state_free(s);
    records_end(&g);
}

/* A member that is added to the state needs a place in snapshot.c, snapread.c and same_state; then these sizes may be changed. */
static void the_state_has_no_new_member(void **state)
{
    (void)state;
    assert_int_equal(sizeof(struct credential), 528);
    assert_int_equal(sizeof(struct identity), 2296);
    assert_int_equal(sizeof(struct key), 424);
    assert_int_equal(sizeof(struct release), 432);
    assert_int_equal(sizeof(struct mark), 336);
    assert_int_equal(sizeof(struct stored), 176);
    assert_int_equal(sizeof(struct state), 1112);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trips), cmocka_unit_test(in_pieces), cmocka_unit_test(sequences_are_rich), cmocka_unit_test(altered_text), cmocka_unit_test(edits_are_refused),
        cmocka_unit_test(lines_twice_or_swapped), cmocka_unit_test(another_policy_is_refused), cmocka_unit_test(named_snapshots),
        cmocka_unit_test(steps_of_the_clock), cmocka_unit_test(a_step_that_is_not_covered),
        cmocka_unit_test(another_ca), cmocka_unit_test(another_certificate_of_the_doors),
        cmocka_unit_test(the_state_has_no_new_member)};

    json_object_seed(1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
