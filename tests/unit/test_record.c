/* Tests of audit/record.c: the members of every record, the chain over lines, and lines that may not be written. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "audit/record.h"

#define BOOT "00112233445566778899aabbccddeeff"
#define ZEROS "0000000000000000000000000000000000000000000000000000000000000000"

static int seal(json_t *record, struct chain *c, int64_t now, struct buf *out, struct err *e)
{
    *e = (struct err){0};
    return record_seal(record, c, now, BOOT, out, e);
}

static void lines(void **state)
{
    const struct actor actor = {"ci", "ci", "c:1", "mtls"};
    BUF_AUTO out = BUF_INIT(RECORD_LINE_MAX + 1);
    struct chain c;
    char hash[SHA256_HEX];
    struct err e;

    (void)state;
    chain_start(&c);
    assert_string_equal(c.prev, ZEROS);
    JSON_AUTO *record = record_new("sign.release", "ok", &actor, "r1");
    record_text(record, "src", "192.0.2.1");
    record_text(record, "rule", "");
    record_text(record, "reason", NULL);
    assert_int_equal(seal(record, &c, 1700000000000001, &out, &e), 0);
    assert_string_equal(buf_str(&out),
                        "{\"actor\":{\"cred\":\"c:1\",\"kind\":\"ci\",\"method\":\"mtls\",\"name\":\"ci\"},\"boot\":\"" BOOT "\",\"event\":\"sign.release\","
                        "\"outcome\":\"ok\",\"prev\":\"" ZEROS "\",\"req\":\"r1\",\"seq\":0,\"src\":\"192.0.2.1\",\"time\":\"2023-11-14T22:13:20.000001Z\",\"v\":1}\n");
    sha256_hex(out.data, out.len - 1, hash); /* the LF is no part of the record */
    assert_string_equal(c.prev, hash);
    assert_int_equal(c.next_seq, 1);
    assert_int_equal(c.time, 1700000000000001);
}

/* The next record hangs on the one before, and its time never lies before it, whatever the clock does. */
static void chained(void **state)
{
    BUF_AUTO out = BUF_INIT(4 * RECORD_LINE_MAX);
    struct chain c;
    struct err e;
    char first[SHA256_HEX];

    (void)state;
    chain_start(&c);
    JSON_AUTO *a = record_new("a", "ok", &actor_system, "");
    JSON_AUTO *b = record_new("b", "ok", &actor_system, "");
    assert_int_equal(seal(a, &c, 1700000000000000, &out, &e), 0);
    memcpy(first, c.prev, sizeof first);
    assert_int_equal(seal(b, &c, 1600000000000000, &out, &e), 0);
    assert_string_equal(rec_str(b, "prev"), first);
    assert_int_equal(rec_int(b, "seq"), 1);
    assert_string_equal(rec_str(b, "time"), rec_str(a, "time"));
    assert_int_equal(c.time, 1700000000000000);
}

/* Sealing that fails leaves chain and text as they were. */
static void unsealed(json_t *record)
{
    BUF_AUTO out = BUF_INIT(2 * RECORD_LINE_MAX);
    struct chain c, before;
    struct err e;

    chain_start(&c);
    JSON_AUTO *good = record_new("a", "ok", &actor_system, "");
    assert_int_equal(seal(good, &c, 1, &out, &e), 0);
    size_t len = out.len;
    before = c;
    assert_int_equal(seal(record, &c, 2, &out, &e), -1);
    assert_true(e.code == ERR_INTERNAL && out.len == len && !out.failed);
    assert_memory_equal(&c, &before, sizeof c);
    assert_int_equal(seal(good, &c, 3, &out, &e), 0);
}

static json_t *of_length(size_t length)
{
    json_t *record = record_new("a", "ok", &actor_system, "");
    char *text = malloc(length + 1);

    assert_non_null(text);
    memset(text, 'x', length);
    text[length] = '\0';
    record_text(record, "reason", text);
    free(text);
    return record;
}

static void too_long(void **state)
{
    BUF_AUTO out = BUF_INIT(2 * RECORD_LINE_MAX);
    struct chain c;
    struct err e;
    size_t room;

    (void)state;
    chain_start(&c);
    JSON_AUTO *one = of_length(1);
    assert_int_equal(seal(one, &c, 1, &out, &e), 0);
    room = RECORD_LINE_MAX - (out.len - 1) + 1; /* of the same shape: seq 1 has one digit as seq 0 has */
    JSON_AUTO *fits = of_length(room);
    JSON_AUTO *over = of_length(room + 1);
    buf_clear(&out);
    chain_start(&c);
    assert_int_equal(seal(fits, &c, 1, &out, &e), 0);
    assert_int_equal(out.len, RECORD_LINE_MAX + 1);
    unsealed(over);
}

/* What the next start would refuse as no record is not written. */
static void strange_members(void **state)
{
    static const char *const members[] = {"Upper", "with-hyphen", "\xc3\xa4", ""};

    (void)state;
    for (unsigned n = 0; n < sizeof members / sizeof *members; n++) {
        JSON_AUTO *record = record_new("a", "ok", &actor_system, "");

        json_object_set_new(record, members[n], json_integer(1));
        unsealed(record);
    }
    JSON_AUTO *large = record_new("a", "ok", &actor_system, "");
    json_object_set_new(large, "n", json_integer(INT64_C(9007199254740992)));
    unsealed(large);
    JSON_AUTO *real = record_new("a", "ok", &actor_system, "");
    json_object_set_new(real, "n", json_real(1.5));
    unsealed(real);
}

static void reading(void **state)
{
    (void)state;
    JSON_AUTO *r = json_pack("{s:s, s:i, s:i, s:{s:i}, s:n}", "text", "t", "n", 7, "minus", -1, "object", "n", 8, "null");
    JSON_AUTO *key = record_key("release", 3);
    JSON_AUTO *head = record_head(9, "ab");
    JSON_AUTO *artifact = record_artifact("a", "c", "v");

    assert_string_equal(rec_str(r, "text"), "t");
    assert_string_equal(rec_str(r, "n"), "");
    assert_string_equal(rec_str(NULL, "n"), "");
    assert_int_equal(rec_int(r, "n"), 7);
    assert_int_equal(rec_int(r, "minus"), 0);
    assert_int_equal(rec_int(r, "text"), 0);
    assert_int_equal(rec_int(rec_obj(r, "object"), "n"), 8);
    assert_null(rec_obj(r, "none"));
    assert_true(rec_int(key, "version") == 3 && rec_int(head, "seq") == 9);
    assert_string_equal(rec_str(key, "name"), "release");
    assert_string_equal(rec_str(head, "hash"), "ab");
    assert_string_equal(rec_str(artifact, "channel"), "c");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(lines),    cmocka_unit_test(chained),         cmocka_unit_test(too_long),
                                       cmocka_unit_test(strange_members), cmocka_unit_test(reading)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
