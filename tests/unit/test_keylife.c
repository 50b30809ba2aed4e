/* Tests of audit/state/keylife.c: which change leads from which state to which, one by one, and that the fold takes no other. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "audit/state/keylife.h"
#include "tests/longlog/records.h"

#define BOOT "0123456789abcdef0123456789abcdef"
#define START INT64_C(1700000000000000)
#define DUE "2023-11-14T23:13:20.000000Z" /* START and an hour */

static struct records blobs;

struct log {
    struct state *s;
    struct chain chain;
    struct err e;
    int64_t now;
};

/* Takes over detail; a record of the key "k". */
static int apply(struct log *l, const char *event, const char *outcome, json_t *detail, uint64_t intent)
{
    const struct blob_source source = records_blobs(&blobs);
    BUF_AUTO line = BUF_INIT(RECORD_LINE_MAX + 1);
    JSON_AUTO *record = record_new(event, outcome, &actor_system, "");

    l->e = (struct err){0};
    json_object_set_new(record, "key", record_key("k", 1));
    record_text(record, "scheme", "statement");
    record_text(record, "purpose", "release");
    record_text(record, "policy", blobs.policy_sha256[0]);
    if (intent)
        json_object_set_new(record, "intent_seq", json_integer((json_int_t)intent));
    if (detail)
        json_object_set_new(record, "detail", detail);
    if (record_seal(record, &l->chain, l->now, BOOT, &line, &l->e))
        fail_msg("%s", l->e.detail);
    return state_apply(l->s, record, span_of(line.data, line.len - 1), &source, &l->e);
}

static void begin(struct log *l)
{
    *l = (struct log){.s = state_new(), .now = START};
    chain_start(&l->chain);
    assert_int_equal(apply(l, "log.genesis", "ok",
                           json_pack("{s:{s:s, s:s}, s:i, s:[], s:s, s:s, s:s}", "ca", "cert_b64", "MIIBszCCAVmgAwIBAgIB", "spki_b64", "MFkwEwYHKoZIzj0CAQ==", "format",
                                     1, "identities", "instance", BOOT, "mode", "dev", "origin", "dev.test"), 0), 0);
    assert_int_equal(apply(l, "key.create", "intent", json_pack("{s:s, s:s}", "algorithm", "p256", "key_id", BOOT), 0), 0);
    assert_int_equal(apply(l, "key.create", "ok", json_pack("{s:s}", "spki_b64", "MFkwEwYHKoZIzj0CAQ=="), 1), 0);
}

static int change(struct log *l, const char *event, const char *state)
{
    json_t *detail = json_pack("{s:s}", "state", state);

    if (!strcmp(event, "key.destroy"))
        json_object_set_new(detail, "due", json_string(DUE));
    return apply(l, event, "ok", detail, 0);
}

static const struct key *key(const struct log *l)
{
    return state_key(l->s, "k");
}

/* Letters: s(uspend) r(esume) t (retire) c(ompromise) d(estroy) u (restore). The state that each leads to, or a refusal. */
struct step {
    char letter;
    const char *event;
};
static const struct step STEPS[] = {{'s', "key.suspend"}, {'r', "key.resume"}, {'t', "key.retire"}, {'c', "key.compromise"}, {'d', "key.destroy"}, {'u', "key.restore"}};
#define N_STEPS (sizeof STEPS / sizeof *STEPS)

/* What each of srtcdu leads to behind that path, by its first letter (X destroying, - refused): active, suspended, retired. */
static const struct {
    const char *path, *leads;
} TABLE[] = {
    {"", "s-tt--"}, {"s", "-att" "X-"}, {"t", "---tX-"}, {"c", "----X-"}, {"sc", "----X-"}, {"tc", "----X-"},
    {"sd", "---X-s"}, {"td", "---X-t"}, {"sdc", "-----t"}, {"sdu", "-attX-"}, {"tdu", "---tX-"}, {"sducd", "-----t"}, {"sr", "s-tt--"},
};

static const char *state_of(char letter)
{
    switch (letter) {
    case 'a': return "active";
    case 's': return "suspended";
    case 't': return "retired";
    default: return "destroying";
    }
}

static const char *event_of(char letter)
{
    for (size_t n = 0; n < N_STEPS; n++)
        if (STEPS[n].letter == letter)
            return STEPS[n].event;
    return "";
}

static void walk(struct log *l, const char *path)
{
    struct err e = {0};
    enum key_state to;

    begin(l);
    for (; *path; path++) {
        assert_int_equal(key_change(key(l), event_of(*path), &to, &e), 0);
        assert_int_equal(change(l, event_of(*path), key_state_name(to)), 0);
    }
}

static void every_change_from_every_state(void **state)
{
    (void)state;
    for (size_t row = 0; row < sizeof TABLE / sizeof *TABLE; row++)
        for (size_t n = 0; n < N_STEPS; n++) {
            char want = TABLE[row].leads[n];
            struct log l;
            struct err e = {0};
            enum key_state to;
            int result;

            walk(&l, TABLE[row].path);
            l.now += 1000000;
            result = key_change(key(&l), STEPS[n].event, &to, &e);
            if (result != (want == '-' ? -1 : 0) || (!result && strcmp(key_state_name(to), state_of(want))))
                fail_msg("behind \"%s\" %s: %s", TABLE[row].path, STEPS[n].event, result ? e.detail : key_state_name(to));
            assert_true(!result || (e.code == ERR_KEY_STATE && e.detail[0]));
            assert_int_equal(change(&l, STEPS[n].event, want == '-' ? "retired" : state_of(want)), result);
            if (!result) {
                assert_string_equal(key_state_name(key(&l)->state), state_of(want));
                assert_int_equal(key_signs(key(&l)), want == 'a');
                assert_true((key(&l)->due[0] != '\0') == (want == 'X'));
            }
            state_free(l.s);
        }
}

/* A record that brings the key elsewhere than the change leads is none of this program. */
static void another_state_than_it_leads_to(void **state)
{
    static const char *const wrong[] = {"active", "retired", "destroying", "destroyed", "", "Suspended"};
    struct log l;

    (void)state;
    for (size_t n = 0; n < sizeof wrong / sizeof *wrong; n++) {
        begin(&l);
        assert_int_equal(change(&l, "key.suspend", wrong[n]), -1);
        state_free(l.s);
    }
}

static void marks_and_moments(void **state)
{
    struct log l;

    (void)state;
    begin(&l);
    assert_string_equal(key(&l)->since, key(&l)->created);
    l.now += 1000000;
    assert_int_equal(change(&l, "key.suspend", "suspended"), 0);
    assert_string_equal(key(&l)->since, "2023-11-14T22:13:21.000000Z");
    l.now += 1000000;
    assert_int_equal(change(&l, "key.destroy", "destroying"), 0);
    assert_string_equal(key(&l)->due, DUE);
    l.now += 1000000;
    assert_int_equal(change(&l, "key.compromise", "destroying"), 0);
    assert_string_equal(key(&l)->compromised, "2023-11-14T22:13:23.000000Z");
    assert_string_equal(key(&l)->since, "2023-11-14T22:13:22.000000Z");
    assert_int_equal(change(&l, "key.restore", "retired"), 0);
    state_free(l.s);
}

static int intent(struct log *l)
{
    return apply(l, "key.erase", "intent", json_pack("{s:s}", "key_id", BOOT), 0);
}

static int result(struct log *l, uint64_t seq, int left)
{
    return apply(l, "key.erase", "ok", json_pack("{s:s, s:i}", "key_id", BOOT, "left", left), seq);
}

static void removal(void **state)
{
    struct log l;
    enum key_state to;

    (void)state;
    walk(&l, "sd");
    assert_true(key_on_token(key(&l)) && l.s->n_keys == 1);
    l.now = START + INT64_C(3600000000);
    assert_int_equal(intent(&l), 0);
    assert_true(!key_on_token(key(&l)) && l.s->n_keys == 0 && key(&l)->erase_seq == 5 && key(&l)->state == KEY_DESTROYING);
    assert_int_equal(key_change(key(&l), "key.restore", &to, &l.e), -1);
    assert_int_equal(apply(&l, "key.erase", "error", NULL, 5), 0);
    assert_true(key(&l)->erase_seq == 5 && key(&l)->state == KEY_DESTROYING);
    l.now += 1000000;
    assert_int_equal(result(&l, 5, 0), 0);
    assert_true(key(&l)->state == KEY_DESTROYED && !key(&l)->due[0] && key(&l)->before == KEY_ACTIVE && !key_signs(key(&l)));
    assert_string_equal(key(&l)->since, "2023-11-14T23:13:21.000000Z");
    assert_int_equal(change(&l, "key.compromise", "destroyed"), 0);
    state_free(l.s);
}

/* before: 'i' an intent that is right first. */
static void no_removal(void **state)
{
    static const struct {
        const char *path;
        int64_t later;
        bool frozen, begun;
        int again;            /* -1 = another intent, else a result with so many left */
        uint64_t seq;
    } cases[] = {
        {"", 3600, false, false, -1, 0},   {"s", 3600, false, false, -1, 0}, {"t", 3600, false, false, -1, 0}, {"sdu", 3600, false, false, -1, 0},
        {"sd", 3599, false, false, -1, 0}, {"sd", 3600, true, false, -1, 0}, {"sd", 3600, false, true, -1, 0}, {"sd", 3600, false, false, 0, 5},
        {"sd", 3600, false, true, 0, 4},   {"sd", 3600, false, true, 1, 5},
    };

    (void)state;
    for (size_t n = 0; n < sizeof cases / sizeof *cases; n++) {
        struct log l;

        walk(&l, cases[n].path);
        l.now = START + cases[n].later * 1000000;
        if (cases[n].frozen)
            assert_int_equal(apply(&l, "time.step", "ok", json_object(), 0), 0);
        if (cases[n].begun)
            assert_int_equal(intent(&l), 0);
        assert_int_equal(cases[n].again < 0 ? intent(&l) : result(&l, cases[n].seq, cases[n].again), -1);
        state_free(l.s);
    }
}

static void due_in_the_past(void **state)
{
    struct log l;

    (void)state;
    walk(&l, "s");
    l.now = START + INT64_C(3600000000);
    assert_int_equal(change(&l, "key.destroy", "destroying"), -1);
    state_free(l.s);
}

static void names_of_states(void **state)
{
    enum key_state s;

    (void)state;
    for (unsigned n = KEY_ACTIVE; n <= KEY_DESTROYED; n++) {
        assert_int_equal(key_state_parse(key_state_name((enum key_state)n), &s), 0);
        assert_int_equal(s, n);
    }
    assert_int_equal(key_state_parse("", &s), -1);
    assert_int_equal(key_state_parse("Active", &s), -1);
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
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_change_from_every_state), cmocka_unit_test(another_state_than_it_leads_to),
                                       cmocka_unit_test(marks_and_moments), cmocka_unit_test(removal), cmocka_unit_test(no_removal),
                                       cmocka_unit_test(due_in_the_past), cmocka_unit_test(names_of_states)};

    return cmocka_run_group_tests(tests, make, NULL);
}
