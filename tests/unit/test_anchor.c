/* Tests of one slot of the anchor: what is written is read, what is damaged is not, and what it says about a log. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "audit/anchor.h"

#define INSTANCE "00112233445566778899aabbccddeeff"
#define HASH_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define HASH_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static const struct anchor GOOD = {INSTANCE, 1700000000000000, 41, HASH_A};

static void encode(struct buf *b, const struct anchor *a)
{
    *b = BUF_INIT(ANCHOR_LEN);
    anchor_encode(b, a);
    assert_int_equal(buf_ok(b), 0);
    assert_int_equal(b->len, ANCHOR_LEN);
}

static void test_round_trip(void **state)
{
    struct anchor out;
    BUF_AUTO b = {0};

    (void)state;
    encode(&b, &GOOD);
    assert_int_equal(anchor_decode(buf_span(&b), &out), 0);
    assert_string_equal(out.instance, GOOD.instance);
    assert_string_equal(out.hash, GOOD.hash);
    assert_true(out.counter == GOOD.counter && out.seq == GOOD.seq);
}

/* The layout is on disks and tokens: it must not move. */
static void test_layout(void **state)
{
    BUF_AUTO b = {0};

    (void)state;
    encode(&b, &GOOD);
    assert_memory_equal(b.data, "KMSDANCH\0\0\0\1\0\0\0\0\x00\x11\x22\x33", 20);
    assert_memory_equal(b.data + 40, "\0\0\0\0\0\0\0\51\xaa\xaa", 10);
}

static void test_every_flipped_bit_is_refused(void **state)
{
    struct anchor out;
    BUF_AUTO b = {0};

    (void)state;
    encode(&b, &GOOD);
    for (size_t n = 0; n < ANCHOR_LEN * 8; n++) {
        b.data[n / 8] ^= (uint8_t)(1u << n % 8);
        assert_int_equal(anchor_decode(buf_span(&b), &out), -1);
        b.data[n / 8] ^= (uint8_t)(1u << n % 8);
    }
    for (size_t len = 0; len < ANCHOR_LEN; len++)
        assert_int_equal(anchor_decode(span_of(b.data, len), &out), -1);
}

/* A checksum is no excuse for a version or a number this program does not know. */
static void test_a_right_sum_over_wrong_members(void **state)
{
    static const struct { size_t at; uint8_t value; } rows[] = {{0, 'X'}, {11, 2}, {15, 1}, {32, 0xff}, {40, 0xff}};
    struct anchor out;

    (void)state;
    for (size_t n = 0; n < sizeof rows / sizeof *rows; n++) {
        BUF_AUTO b = {0};

        encode(&b, &GOOD);
        b.data[rows[n].at] = rows[n].value;
        sha256(b.data, ANCHOR_LEN - SHA256_LEN, b.data + ANCHOR_LEN - SHA256_LEN);
        assert_int_equal(anchor_decode(buf_span(&b), &out), -1);
    }
}

static void test_bad_members_are_not_written(void **state)
{
    struct anchor rows[4] = {GOOD, GOOD, GOOD, GOOD};

    (void)state;
    rows[0].instance[0] = 'G';
    rows[1].hash[63] = '\0';
    rows[2].counter = ANCHOR_COUNTER_MAX + 1;
    rows[3].seq = ANCHOR_COUNTER_MAX + 1;
    for (size_t n = 0; n < 4; n++) {
        BUF_AUTO b = BUF_INIT(ANCHOR_LEN);

        anchor_encode(&b, &rows[n]);
        assert_int_equal(buf_ok(&b), -1);
    }
}

static void test_counters_grow(void **state)
{
    (void)state;
    assert_true(anchor_next_counter(5, 1000) == 1000);
    assert_true(anchor_next_counter(1000, 1000) == 1001);
    assert_true(anchor_next_counter(1000, -1) == 1001);
    assert_true(anchor_next_counter(ANCHOR_COUNTER_MAX, 1000) == ANCHOR_COUNTER_MAX);
    assert_true(anchor_next_counter(7, INT64_MAX) == 8);
}

static void test_verdicts(void **state)
{
    struct err e = {0};

    (void)state;
    assert_int_equal(anchor_judge(&GOOD, INSTANCE, 42, HASH_A), ANCHOR_HOLDS);
    assert_int_equal(anchor_judge(&GOOD, INSTANCE, 5000, HASH_A), ANCHOR_HOLDS);
    assert_int_equal(anchor_judge(&GOOD, INSTANCE, 41, HASH_A), ANCHOR_AHEAD);
    assert_int_equal(anchor_judge(&GOOD, INSTANCE, 42, HASH_B), ANCHOR_REPLACED);
    assert_int_equal(anchor_judge(&GOOD, INSTANCE, 42, NULL), ANCHOR_REPLACED);
    assert_int_equal(anchor_judge(&GOOD, "ffffffffffffffffffffffffffffffff", 42, HASH_A), ANCHOR_FOREIGN);
    assert_int_equal(anchor_refuse(&GOOD, ANCHOR_AHEAD, "the anchor", 30, &e), -1);
    assert_int_equal(e.code, ERR_LOG_UNAVAILABLE);
    assert_non_null(strstr(e.detail, "record 41:" HASH_A));
    assert_non_null(strstr(e.detail, "ends at record 29"));
    assert_non_null(strstr(e.detail, "kmsd anchor --accept"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_layout),
        cmocka_unit_test(test_every_flipped_bit_is_refused),
        cmocka_unit_test(test_a_right_sum_over_wrong_members),
        cmocka_unit_test(test_bad_members_are_not_written),
        cmocka_unit_test(test_counters_grow),
        cmocka_unit_test(test_verdicts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
