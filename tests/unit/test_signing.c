/* The record of a signature written as its line: the same bytes as from a tree, found again in them, and the same state from line and tree. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "audit/signing.h"
#include "audit/statement.h"
#include "audit/state/snapshot.h"

#define BOOT "00112233445566778899aabbccddeeff"
#define HASH "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define NOW INT64_C(1700000000000001)

static struct signing whole(void)
{
    return (struct signing){
        .actor = {"ci-a", "ci", "c:1", "mtls"}, .req = "r1", .src = "192.0.2.1", .idem = "i:0", .body_sha256 = HASH, .rule = "role/rule", .policy = HASH,
        .app = "com.example", .channel = "main", .version = "1.2.3", .name = "n.zip", .alg = "sha256", .digest = HASH, .source_claimed = "a \"b\"\\ \xc3\xa4\x1f",
        .size = 9007199254740991, .key = "release", .scheme = "statement", .signature = "MEUC", .key_version = 7, .statement = true,
        .environment = "production", .issued = "2026-01-02T03:04:05.000000Z", .head_hash = HASH, .head_seq = 41};
}

static json_t *tree(const struct signing *s)
{
    json_t *r = record_new(s->statement ? "sign.release" : "sign.digest", "ok", &s->actor, s->req), *detail = json_pack("{s:s}", "name", s->name);

    if (s->size >= 0)
        json_object_set_new(detail, "size", json_integer(s->size));
    if (s->statement) {
        record_text(detail, "environment", s->environment);
        record_text(detail, "issued", s->issued);
        json_object_set_new(detail, "log_head", record_head(s->head_seq, s->head_hash));
    }
    json_object_set_new(r, "detail", detail);
    json_object_set_new(r, "key", record_key(s->key, s->key_version));
    json_object_set_new(r, "artifact", record_artifact(s->app, s->channel, s->version));
    json_object_set_new(r, "digest", json_pack("{s:s, s:s}", "alg", s->alg, "hex", s->digest));
    record_text(r, "scheme", s->scheme);
    record_text(r, "source_claimed", s->source_claimed);
    record_text(r, "idem", s->idem);
    record_text(r, "body_sha256", s->body_sha256);
    record_text(r, "src", s->src);
    record_text(r, "rule", s->rule);
    record_text(r, "policy", s->policy);
    record_text(r, "signature", s->signature);
    return r;
}

static void same(const struct signing *s, const struct chain *c)
{
    BUF_AUTO line = BUF_INIT(RECORD_LINE_MAX), sealed = BUF_INIT(RECORD_LINE_MAX + 1);
    JSON_AUTO *record = tree(s);
    struct chain next = *c;
    struct err e = {0};

    signing_put(s, c, NOW, BOOT, &line);
    buf_putc(&line, '\n');
    assert_int_equal(record_seal(record, &next, NOW, BOOT, &sealed, &e), 0);
    assert_string_equal(buf_str(&line), buf_str(&sealed));
}

/* The statement before there is a record is the one that the record stands for. */
static void same_statement(const struct signing *s, const struct chain *c)
{
    BUF_AUTO line = BUF_INIT(RECORD_LINE_MAX), before = BUF_INIT(RECORD_LINE_MAX), behind = BUF_INIT(RECORD_LINE_MAX);
    struct record_line read;
    struct err e = {0};

    signing_put(s, c, NOW, BOOT, &line);
    signing_statement(s, "beef", &before);
    assert_int_equal(record_line_read(buf_span(&line), &read, &e), 0);
    assert_int_equal(statement_payload(&read, "beef", &behind, &e), 0);
    assert_string_equal(buf_str(&before), buf_str(&behind));
}

static void bytes(void **state)
{
    const struct signing all = whole();
    struct chain c;

    (void)state;
    chain_start(&c);
    for (unsigned without = 0; without < 64; without++) {
        struct signing s = whole();

        s.statement = !(without & 1);
        s.size = without & 2 ? -1 : without & 4 ? 0 : s.size;
        s.idem = without & 4 ? "" : s.idem;
        s.source_claimed = without & 8 ? NULL : s.source_claimed;
        s.signature = without & 16 ? "" : s.signature;
        s.src = without & 32 ? "" : s.src;
        same(&s, &c);
        if (s.statement)
            same_statement(&s, &c);
    }
    c = (struct chain){.next_seq = 9007199254740990, .time = NOW + 5};
    memset(c.prev, 'a', SHA256_HEX - 1);
    same(&all, &c);
}

static void no_text(void **state)
{
    BUF_AUTO line = BUF_INIT(RECORD_LINE_MAX), less = BUF_INIT(600);
    struct signing s = whole();
    struct chain c;

    (void)state;
    chain_start(&c);
    signing_put(&s, &c, NOW, BOOT, &less);
    assert_int_equal(buf_ok(&less), -1);
    s.source_claimed = "\xff";
    signing_put(&s, &c, NOW, BOOT, &line);
    assert_int_equal(buf_ok(&line), -1);
}

static void found_again(void **state)
{
    static const char *const texts[LINE_MEMBER_COUNT] = {
        [LINE_ACTOR] = "\"ci-a\"", [LINE_APP] = "\"com.example\"", [LINE_CHANNEL] = "\"main\"", [LINE_VERSION] = "\"1.2.3\"", [LINE_BODY_SHA256] = "\"" HASH "\"",
        [LINE_ENVIRONMENT] = "\"production\"", [LINE_ISSUED] = "\"2026-01-02T03:04:05.000000Z\"", [LINE_LOG_HEAD] = "{\"hash\":\"" HASH "\",\"seq\":41}",
        [LINE_NAME] = "\"n.zip\"", [LINE_SIZE] = "9007199254740991", [LINE_DIGEST] = "\"" HASH "\"", [LINE_EVENT] = "\"sign.release\"", [LINE_IDEM] = "\"i:0\"",
        [LINE_KEY] = "{\"name\":\"release\",\"version\":7}", [LINE_KEY_NAME] = "\"release\"", [LINE_KEY_VERSION] = "7", [LINE_OUTCOME] = "\"ok\"",
        [LINE_PREV] = "\"0000000000000000000000000000000000000000000000000000000000000000\"", [LINE_REQ] = "\"r1\"", [LINE_SCHEME] = "\"statement\"",
        [LINE_SEQ] = "0", [LINE_SIGNATURE] = "\"MEUC\"", [LINE_SOURCE_CLAIMED] = "\"a \\\"b\\\"\\\\ \xc3\xa4\\u001f\"",
        [LINE_TIME] = "\"2023-11-14T22:13:20.000001Z\"", [LINE_V] = "1"};
    BUF_AUTO text = BUF_INIT(RECORD_LINE_MAX);
    struct signing s = whole();
    struct record_line line;
    struct chain c;
    struct err e = {0};
    uint64_t n;

    (void)state;
    chain_start(&c);
    signing_put(&s, &c, NOW, BOOT, &text);
    assert_int_equal(record_line_read(buf_span(&text), &line, &e), 0);
    for (unsigned m = 0; m < LINE_MEMBER_COUNT; m++)
        if (!span_eq_str(line.member[m], texts[m]))
            fail_msg("member %u is %.*s", m, (int)line.member[m].len, line.member[m].data);
    assert_true(record_line_is(&line, LINE_KEY_NAME, "release") && !record_line_is(&line, LINE_KEY_NAME, "releas") && !record_line_is(&line, LINE_SEQ, "0"));
    assert_true(span_eq_str(record_line_string(&line, LINE_NAME), "n.zip") && !record_line_string(&line, LINE_KEY).data);
    assert_null(record_line_string(&line, LINE_SOURCE_CLAIMED).data); /* has escapes */
    assert_true(!record_line_number(&line, LINE_KEY_VERSION, &n) && n == 7 && record_line_number(&line, LINE_REQ, &n) == -1);
    text.data[text.len - 1] = ']';
    assert_int_equal(record_line_read(buf_span(&text), &line, &e), -1);
    assert_int_equal(record_line_read(span_str("{}"), &line, &e), 0);
    assert_true(!line.member[LINE_SEQ].data && record_line_number(&line, LINE_SEQ, &n) == -1 && !record_line_is(&line, LINE_EVENT, ""));
}

/* A state with a genesis of its own: enough for signatures. */
static struct state *begun(void)
{
    struct state *s = state_new();

    assert_non_null(s);
    s->genesis = true;
    s->chain.next_seq = 1;
    return s;
}

static int apply_tree(struct state *s, struct span line, struct err *e)
{
    const struct blob_source none = {NULL, NULL};
    JSON_AUTO *record = json_read_canonical(line.data, line.len);

    return state_apply(s, record, line, &none, e);
}

static int apply_line(struct state *s, struct span text, struct err *e)
{
    struct record_line line;

    return record_line_read(text, &line, e) || state_apply_signature(s, &line, e) ? -1 : 0;
}

static void assert_same_state(const struct state *a, const struct state *b)
{
    BUF_AUTO one = BUF_INIT(1 << 20), other = BUF_INIT(1 << 20);
    struct err e = {0};

    assert_int_equal(snapshot_write(a, &one, &e), 0);
    assert_int_equal(snapshot_write(b, &other, &e), 0);
    assert_string_equal(buf_str(&one), buf_str(&other));
}

static void same_state(void **state)
{
    static const struct {
        const char *version, *name, *idem;
        bool statement;
    } signatures[] = {{"1.0.0", "a", "", true}, {"1.0.0", "b", "i-1", true}, {"1.1.0", "a", "i-2", false}, {"1.1.0", "c", "i-1", true}};
    struct state *one = begun(), *other = begun();
    struct err e = {0};

    (void)state;
    for (size_t n = 0; n < sizeof signatures / sizeof *signatures; n++) {
        BUF_AUTO line = BUF_INIT(RECORD_LINE_MAX);
        struct signing s = whole();

        s.version = signatures[n].version;
        s.name = signatures[n].name;
        s.idem = signatures[n].idem;
        s.statement = signatures[n].statement;
        signing_put(&s, &one->chain, NOW, BOOT, &line);
        assert_int_equal(apply_tree(one, buf_span(&line), &e), 0);
        assert_int_equal(apply_line(other, buf_span(&line), &e), 0);
        assert_same_state(one, other);
    }
    assert_string_equal(state_mark(other, "com.example", "main")->version, "1.1.0");
    assert_non_null(mark_release(state_mark(other, "com.example", "main"), "c"));
    state_free(one);
    state_free(other);
}

/* What the fold refuses of a tree it refuses of the line, for the same reason. */
static void refused(void **state)
{
    static const struct {
        const char *version, *name, *key;
        uint64_t seq;
        int64_t time;
        const char *why;
    } wrong[] = {{"0.9.0", "b", "k", 2, NOW, "goes down"},       {"1.0.0+x", "b", "k", 2, NOW, "equal in precedence"}, {"1.0", "b", "k", 2, NOW, "MAJOR.MINOR.PATCH"},
                 {"1.0.0", "a", "k", 2, NOW, "signed twice"},    {"1.0.0", "b", "k", 3, NOW, "does not follow"},      {"1.0.0", "b", "k", 2, 1, "lies before"},
                 {"1.0.0", "b", HASH HASH, 2, NOW, "does not fit"}};

    (void)state;
    for (size_t n = 0; n < sizeof wrong / sizeof *wrong; n++)
        for (unsigned by_line = 0; by_line < 2; by_line++) {
            BUF_AUTO first = BUF_INIT(RECORD_LINE_MAX), line = BUF_INIT(RECORD_LINE_MAX);
            struct state *s = begun();
            struct signing g = whole();
            struct chain c;
            struct err e = {0};

            g.version = "1.0.0";
            g.name = "a";
            signing_put(&g, &s->chain, NOW, BOOT, &first);
            assert_int_equal((by_line ? apply_line : apply_tree)(s, buf_span(&first), &e), 0);
            c = s->chain;
            c.next_seq = wrong[n].seq;
            c.time = 0;
            g.version = wrong[n].version;
            g.name = wrong[n].name;
            g.key = wrong[n].key;
            signing_put(&g, &c, wrong[n].time, BOOT, &line);
            assert_int_equal((by_line ? apply_line : apply_tree)(s, buf_span(&line), &e), -1);
            if (!strstr(e.detail, wrong[n].why))
                fail_msg("%zu: %s", n, e.detail);
            state_free(s);
        }
}

/* Other events change the state in ways of their own: their lines alone do not do. */
static void other_events(void **state)
{
    BUF_AUTO line = BUF_INIT(RECORD_LINE_MAX);
    JSON_AUTO *record = record_new("key.suspend", "ok", &actor_system, "");
    struct state *s = begun();
    struct chain next = s->chain;
    struct err e = {0};

    (void)state;
    assert_int_equal(record_seal(record, &next, NOW, BOOT, &line, &e), 0);
    assert_int_equal(apply_line(s, span_of(line.data, line.len - 1), &e), -1);
    assert_int_equal(s->chain.next_seq, 1);
    state_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(bytes),      cmocka_unit_test(no_text), cmocka_unit_test(found_again),
                                       cmocka_unit_test(same_state), cmocka_unit_test(refused), cmocka_unit_test(other_events)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
