/* Tests of audit/state/apply.c: every record that changes the state does so where it fits, and is refused where it does not. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "audit/state/state.h"
#include "tests/longlog/records.h"

#define BOOT "0123456789abcdef0123456789abcdef"
#define H64(digit) digit digit digit digit digit digit digit digit
#define HASH_A H64("aaaaaaaa")
#define HASH_B H64("bbbbbbbb")
#define START INT64_C(1700000000000000)

static struct records blobs; /* its policies */

struct log {
    struct state *s;
    struct chain chain;
    struct err e;
};

static void begin(struct log *l)
{
    *l = (struct log){.s = state_new()};
    assert_non_null(l->s);
    chain_start(&l->chain);
}

/* The text's apostrophes stand for quotation marks, @A and @B for the hashes of two policies. */
static json_t *record_of(const char *text)
{
    BUF_AUTO b = BUF_INIT(16384);
    struct err e = {0};
    json_t *record;

    for (; *text; text++)
        if (*text == '@')
            buf_puts(&b, blobs.policy_sha256[*++text - 'A']);
        else
            buf_putc(&b, (uint8_t)(*text == '\'' ? '"' : *text));
    record = json_read_object(b.data, b.len, b.len, &e);
    if (!record)
        fail_msg("%s in %s", e.detail, buf_str(&b));
    return record;
}

static json_t *with_frame(const char *text)
{
    json_t *record = record_of(text), *frame = record_new("", "", &actor_system, "");

    json_object_update_missing(record, frame);
    json_decref(frame);
    return record;
}

static int apply_at(struct log *l, const char *text, int64_t now)
{
    const struct blob_source source = records_blobs(&blobs);
    BUF_AUTO line = BUF_INIT(RECORD_LINE_MAX + 1);
    JSON_AUTO *record = with_frame(text);

    l->e = (struct err){0};
    if (record_seal(record, &l->chain, now, BOOT, &line, &l->e))
        fail_msg("%s", l->e.detail);
    return state_apply(l->s, record, span_of(line.data, line.len - 1), &source, &l->e);
}

static int apply(struct log *l, const char *text)
{
    return apply_at(l, text, START);
}

#define CERTIFICATE(hash) "{'kind':'certificate','cert_sha256':'" hash "','spki_sha256':'" HASH_A "','not_after':'2096-01-01T00:00:00.000000Z','issued':false}"
#define IDENTITY(name, credential) "{'name':'" name "','kind':'person','credentials':[" credential "],'ssh':[]}"
#define DETAIL(event, outcome, detail) "{'event':'" event "','outcome':'" outcome "','detail':" detail "}"
#define GENESIS_OF(format, identities, policy, spki)                                                                                                        \
    "{'event':'log.genesis','outcome':'ok','policy':'" policy "','detail':{'format':" format ",'instance':'" BOOT "','origin':'dev.test','mode':'dev'," \
    "'ca':{'spki_b64':'" spki "','cert_b64':'AAAA'},'identities':[" identities "]}}"
#define FOUNDER IDENTITY("alice", CERTIFICATE(HASH_A))
#define GENESIS GENESIS_OF("1", FOUNDER, "@A", "AAAA")
#define CREATE(identity) DETAIL("identity.create", "ok", "{'identity':" identity "}")
#define INTENT(name)                                                                                                                              \
    "{'event':'key.create','outcome':'intent','key':{'name':'" name "','version':1},'scheme':'statement','purpose':'release','detail':{'algorithm':" \
    "'p256','key_id':'" BOOT "'}}"
#define RESULT(name, outcome, intent)                                                                                                                \
    "{'event':'key.create','outcome':'" outcome "','key':{'name':'" name "','version':1},'intent_seq':" intent ",'detail':{'spki_b64':'MFkwEwYHKoZIzj0CAQ=='}}"
#define ARTIFACT(version) "'artifact':{'app':'shop','channel':'stable','version':'" version "'}"
#define SIGN(version, name)                                                                                                                         \
    "{'event':'sign.release','outcome':'ok'," ARTIFACT(version) ",'digest':{'alg':'sha256','hex':'" HASH_A "'},'body_sha256':'" HASH_B "','idem':'" name \
    "','detail':{'name':'" name "'}}"
#define RENEW(name, hash, dropped)                                                                                                                  \
    DETAIL("identity.renew", "ok", "{'certificate_b64':'AAAA','credential':" CERTIFICATE(hash) ",'dropped':[" dropped "],'name':'" name "'}")
#define RECOVER(identity) DETAIL("admin.recover", "ok", "{'certificate_b64':'AAAA','identity':" identity "}")
#define WITHDRAW(version) "{'event':'release.withdraw','outcome':'ok'," ARTIFACT(version) "}"
#define SNAPSHOT(seq) DETAIL("log.snapshot", "ok", "{'bytes':1,'file':'0000000000000000000" seq ".jsonl','seq':" seq ",'sha256':'" HASH_A "'}")

/* What stands before a row: each letter is a record. */
static const char *const BEFORE[128] = {
    ['G'] = GENESIS, ['i'] = CREATE(IDENTITY("bob", CERTIFICATE(HASH_B))), ['d'] = DETAIL("identity.disable", "ok", "{'name':'bob'}"),
    ['k'] = INTENT("release"), ['r'] = RESULT("release", "ok", "1"), ['e'] = RESULT("release", "error", "1"), ['1'] = SIGN("1.0.0", "app.zip"),
    ['2'] = SIGN("2.0.0", "app.zip"), ['w'] = WITHDRAW("1.0.0"), ['n'] = SNAPSHOT("1"),
    ['f'] = DETAIL("token.reconcile", "error", "{'duplicate':[],'foreign':[],'missing':[1],'others':0,'quarantined':[]}"),
};

static const struct {
    const char *before, *record, *why;
} REFUSED[] = {
    {"", CREATE(IDENTITY("bob", "")), "does not begin with log.genesis"},
    {"", GENESIS_OF("2", FOUNDER, "@A", "AAAA"), "format version"},
    {"", GENESIS_OF("1", FOUNDER "," FOUNDER, "@A", "AAAA"), "created twice"},
    {"", GENESIS_OF("1", FOUNDER "," IDENTITY("bob", CERTIFICATE(HASH_A)), "@A", "AAAA"), "belongs to another identity"},
    {"", GENESIS_OF("1", FOUNDER, HASH_A, "AAAA"), "no blob"},
    {"", GENESIS_OF("1", FOUNDER, "@A", "A"), "no base64"},
    {"G", GENESIS, "elsewhere than in record 0"},
    {"G", DETAIL("policy.apply", "ok", "{'sha256':'" HASH_A "'}"), "no blob"},
    {"G", CREATE(IDENTITY("alice", "")), "created twice"},
    {"Gi", CREATE(IDENTITY("bob", "")), "created twice"},
    {"G", CREATE(IDENTITY("bob", CERTIFICATE(HASH_A))), "belongs to another identity"},
    {"G", CREATE(IDENTITY("", "")), "identity"},
    {"G", CREATE(IDENTITY("bob", "{'kind':'strange'}")), "credential"},
    {"G", DETAIL("identity.disable", "ok", "{'name':'bob'}"), "does not exist"},
    {"G", DETAIL("identity.enable", "ok", "{'name':'bob'}"), "does not exist"},
    {"G", RENEW("bob", HASH_B, ""), "does not exist"},
    {"G", RENEW("alice", HASH_A, ""), "belongs to another identity"},
    {"Gi", RENEW("alice", HASH_B, ""), "belongs to another identity"},
    {"Gi", RENEW("alice", HASH_A, "'" HASH_B "'"), "does not have"},
    {"G", RENEW("alice", HASH_B, "7"), "no certificate"},
    {"G", DETAIL("identity.renew", "ok", "{'credential':{'kind':'strange'},'dropped':[],'name':'alice'}"), "does not fit"},
    {"G", RECOVER(IDENTITY("alice", "")), "created twice"},
    {"G", RECOVER(IDENTITY("carol", CERTIFICATE(HASH_A))), "belongs to another identity"},
    {"G", DETAIL("admin.recover", "ok", "{'identity':" IDENTITY("carol", "") ",'policy_sha256':'" HASH_A "'}"), "no blob"},
    {"G", DETAIL("ca.renew", "ok", "{'ca':{'cert_b64':'AAAA','spki_b64':'A'}}"), "no base64"},
    {"G", DETAIL("server.renew", "ok", "{'certificate_b64':'A'}"), "no base64"},
    {"Gk", INTENT("release"), "created twice"},
    {"Gkr", INTENT("release"), "created twice"},
    {"G", "{'event':'key.create','outcome':'intent','key':{'name':'k','version':1},'detail':{'key_id':'" HASH_A "'}}", "key_id"},
    {"G", RESULT("release", "ok", "1"), "has no intent"},
    {"Gk", RESULT("release", "ok", "2"), "has no intent"},
    {"Gk", RESULT("other", "ok", "1"), "has no intent"},
    {"Gkr", RESULT("release", "ok", "1"), "has no intent"},
    {"Gke", RESULT("release", "ok", "1"), "has no intent"},
    {"G", RESULT("release", "error", "1"), "has no intent"},
    {"Gkr", RESULT("release", "error", "1"), "has no intent"},
    {"G2", SIGN("1.0.0", "app.zip"), "goes down"},
    {"G1", SIGN("1.0.0", "app.zip"), "signed twice"},
    {"G1", SIGN("1.0.0+b", "other.zip"), "equal in precedence"},
    {"G", SIGN("one", "app.zip"), "MAJOR.MINOR.PATCH"},
    {"G1w", SIGN("1.0.0", "other.zip"), "withdrawn version"},
    {"G", WITHDRAW("1.0.0"), "not the newest"},
    {"G12", WITHDRAW("1.0.0"), "not the newest"},
    {"Gn", SNAPSHOT("1"), "not newer"},
    {"G", SNAPSHOT("2"), "cannot be"},
    {"G", DETAIL("log.snapshot", "ok", "{'bytes':0,'file':'00000000000000000001.jsonl','seq':1,'sha256':'" HASH_A "'}"), "cannot be"},
    {"G", DETAIL("log.snapshot", "ok", "{'bytes':1,'file':'../00000000000000001.jsonl','seq':1,'sha256':'" HASH_A "'}"), "cannot be"},
    {"G", DETAIL("anchor.reset", "ok", "{'counter':1,'token':{'hash':'" HASH_A "0','seq':1}}"), "too long"},
};

static void reach(struct log *l, const char *before)
{
    begin(l);
    for (; *before; before++)
        if (apply(l, BEFORE[(unsigned char)*before]))
            fail_msg("%c: %s", *before, l->e.detail);
}

static void refused(void **state)
{
    (void)state;
    for (size_t n = 0; n < sizeof REFUSED / sizeof *REFUSED; n++) {
        struct log l;

        reach(&l, REFUSED[n].before);
        if (!apply(&l, REFUSED[n].record))
            fail_msg("row %zu was applied: %s", n, REFUSED[n].record);
        if (l.e.code == ERR_NONE || !strstr(l.e.detail, REFUSED[n].why))
            fail_msg("row %zu: %s", n, l.e.detail);
        state_free(l.s);
    }
}

static void genesis(void **state)
{
    struct log l;

    (void)state;
    reach(&l, "G");
    assert_true(l.s->genesis && l.s->n_identities == 1 && l.s->policy && l.s->policy_seq == 0 && l.s->ca_spki.len == 3);
    assert_string_equal(l.s->instance, BOOT);
    assert_string_equal(l.s->origin, "dev.test");
    assert_string_equal(l.s->mode, "dev");
    assert_string_equal(l.s->policy_sha256, blobs.policy_sha256[0]);
    assert_true(state_identity(l.s, "alice")->founder && state_identity(l.s, "alice")->enabled);
    assert_ptr_equal(state_credential(l.s, "c:" HASH_A), state_identity(l.s, "alice"));
    assert_string_equal(l.s->head, l.chain.prev);
    state_free(l.s);
}

static void policy(void **state)
{
    struct log l;

    (void)state;
    reach(&l, "G");
    assert_int_equal(apply(&l, DETAIL("policy.apply", "ok", "{'sha256':'@B'}")), 0);
    assert_true(l.s->policy_seq == 1);
    assert_string_equal(l.s->policy_sha256, blobs.policy_sha256[1]);
    assert_int_equal(apply(&l, DETAIL("policy.apply", "denied", "{'sha256':'@A'}")), 0);
    assert_true(l.s->policy_seq == 1);
    blobs.altered_blobs = true;
    assert_int_equal(apply(&l, DETAIL("policy.apply", "ok", "{'sha256':'@A'}")), -1);
    blobs.altered_blobs = false;
    assert_non_null(strstr(l.e.detail, "was altered"));
    state_free(l.s);
}

static void identities(void **state)
{
    struct log l;

    (void)state;
    reach(&l, "Gi");
    assert_true(l.s->n_identities == 2 && !state_identity(l.s, "bob")->founder && state_identity(l.s, "bob")->enabled);
    assert_int_equal(apply(&l, BEFORE['d']), 0);
    assert_false(state_identity(l.s, "bob")->enabled);
    assert_int_equal(apply(&l, DETAIL("identity.enable", "denied", "{'name':'bob'}")), 0);
    assert_false(state_identity(l.s, "bob")->enabled);
    assert_int_equal(apply(&l, DETAIL("identity.enable", "ok", "{'name':'bob'}")), 0);
    assert_true(state_identity(l.s, "bob")->enabled);
    state_free(l.s);
}

static void keys(void **state)
{
    struct log l;
    const struct key *k;

    (void)state;
    reach(&l, "Gk");
    k = state_key(l.s, "release");
    assert_true(k && !k->active && k->intent_seq == 1 && k->version == 1 && l.s->n_keys == 0);
    assert_int_equal(apply(&l, RESULT("release", "ok", "1")), 0);
    assert_true(k->active && k->spki.len == 13 && strlen(k->keyid) == 64 && l.s->n_keys == 1);
    assert_string_equal(k->key_id, BOOT);
    state_free(l.s);
    reach(&l, "Gke");
    assert_true(!state_key(l.s, "release") && l.s->n_keys == 0);
    assert_int_equal(apply(&l, INTENT("release")), 0);
    assert_int_equal(state_key(l.s, "release")->intent_seq, 3);
    state_free(l.s);
    reach(&l, "Gk"); /* a refused request has no intent, and so says nothing of the one that is open */
    assert_int_equal(apply(&l, "{'event':'key.create','outcome':'error','key':{'name':'release','version':1}}"), 0);
    assert_non_null(state_key(l.s, "release"));
    state_free(l.s);
}

static void releases(void **state)
{
    struct log l;
    const struct mark *m;

    (void)state;
    reach(&l, "G1");
    m = state_mark(l.s, "shop", "stable");
    assert_true(m && mark_release(m, "app.zip") && !state_mark(l.s, "shop", "beta"));
    assert_int_equal(apply(&l, SIGN("1.0.0", "other.zip")), 0);
    assert_true(mark_release(m, "app.zip") && mark_release(m, "other.zip"));
    assert_int_equal(apply(&l, WITHDRAW("1.0.0")), 0);
    assert_true(m->withdrawn);
    assert_int_equal(apply(&l, SIGN("1.1.0", "app.zip")), 0);
    assert_true(!m->withdrawn && !mark_release(m, "other.zip"));
    assert_string_equal(m->version, "1.1.0");
    assert_string_equal(mark_release(m, "app.zip")->digest, HASH_A);
    state_free(l.s);
}

static void stored_answers(void **state)
{
    char id[SHA256_HEX], other[SHA256_HEX];
    struct log l;

    (void)state;
    idem_id(actor_system.name, "POST", "/v1/sign", "app.zip", id);
    idem_id(actor_system.name, "POST", "/v1/sign", "late.zip", other);
    reach(&l, "G1");
    assert_true(state_stored(l.s, id) && state_stored(l.s, id)->seq == 1);
    assert_int_equal(apply_at(&l, SIGN("3.0.0", "late.zip"), START + STORED_ANSWER_TIME), 0);
    assert_true(state_stored(l.s, id) && state_stored(l.s, other));
    assert_int_equal(apply_at(&l, WITHDRAW("3.0.0"), START + STORED_ANSWER_TIME + 1), 0);
    assert_true(!state_stored(l.s, id) && state_stored(l.s, other) && l.s->stored_first == l.s->stored_last);
    state_free(l.s);
}

static void findings_and_snapshots(void **state)
{
    struct log l;

    (void)state;
    reach(&l, "Gf");
    assert_int_equal(strlen(l.s->reconcile_sha256), 64);
    assert_int_equal(apply(&l, DETAIL("token.reconcile", "ok", "{'duplicate':[],'foreign':[],'missing':[],'others':0,'quarantined':[]}")), 0);
    assert_string_equal(l.s->reconcile_sha256, "");
    assert_int_equal(apply(&l, SNAPSHOT("1")), 0);
    assert_int_equal(apply(&l, SNAPSHOT("3")), 0);
    assert_int_equal(l.s->snapshot_seq, 3);
    assert_int_equal(apply(&l, DETAIL("anchor.reset", "ok", "{'counter':9,'old':{'seq':4},'token':{'hash':'" HASH_B "','seq':2}}")), 0);
    assert_true(l.s->reset.seq == 5 && l.s->reset.counter == 9 && l.s->reset.old && l.s->reset.old_seq == 4 && l.s->reset.token && l.s->reset.token_seq == 2);
    assert_string_equal(l.s->reset.token_hash, HASH_B);
    assert_int_equal(apply(&l, DETAIL("anchor.reset", "ok", "{'counter':10}")), 0);
    assert_true(l.s->reset.seq == 6 && !l.s->reset.old && !l.s->reset.token && !l.s->reset.token_hash[0]);
    state_free(l.s);
}

/* A record that is none of the next, by seq, prev, time or form. */
static void chain(void **state)
{
    static const struct {
        const char *member, *value, *why;
    } wrong[] = {
        {"seq", "3", "does not follow"}, {"seq", "1", "does not follow"}, {"prev", "'" HASH_A "'", "does not follow"},
        {"time", "'2001-01-01T00:00:00.000000Z'", "lies before"}, {"time", "'soon'", "lies before"}, {"v", "2", "format 1"},
    };
    const struct blob_source source = records_blobs(&blobs);

    (void)state;
    for (size_t n = 0; n < sizeof wrong / sizeof *wrong; n++) {
        BUF_AUTO line = BUF_INIT(RECORD_LINE_MAX + 1);
        char change[128];
        struct log l;

        reach(&l, "G1");
        (void)snprintf(change, sizeof change, "{'%s':%s}", wrong[n].member, wrong[n].value);
        JSON_AUTO *record = with_frame(BEFORE['2']);
        JSON_AUTO *other = record_of(change);

        assert_int_equal(record_seal(record, &l.chain, START, BOOT, &line, &l.e), 0);
        json_object_update(record, other);
        if (!state_apply(l.s, record, span_of(line.data, line.len - 1), &source, &l.e) || !strstr(l.e.detail, wrong[n].why))
            fail_msg("%s: %s", change, l.e.detail);
        state_free(l.s);
    }
}

/* Records that tell of something and change nothing. */
static void no_effect(void **state)
{
    static const char *const records[] = {
        DETAIL("auth.refused", "denied", "{}"), DETAIL("log.recovered", "ok", "{}"), DETAIL("core.start", "ok", "{}"), DETAIL("of.later.times", "ok", "{}"),
        "{'event':'sign.release','outcome':'denied'," ARTIFACT("9.0.0") "}"};
    struct log l;

    (void)state;
    reach(&l, "G1");
    for (size_t n = 0; n < sizeof records / sizeof *records; n++)
        assert_int_equal(apply(&l, records[n]), 0);
    assert_string_equal(state_mark(l.s, "shop", "stable")->version, "1.0.0");
    assert_int_equal(l.s->chain.next_seq, 7);
    state_free(l.s);
}

static int make(void **state)
{
    (void)state;
    json_object_seed(1);
    records_init(&blobs, 1);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refused), cmocka_unit_test(genesis), cmocka_unit_test(policy), cmocka_unit_test(identities), cmocka_unit_test(keys),
        cmocka_unit_test(releases), cmocka_unit_test(stored_answers), cmocka_unit_test(findings_and_snapshots), cmocka_unit_test(chain), cmocka_unit_test(no_effect)};

    return cmocka_run_group_tests(tests, make, NULL);
}
