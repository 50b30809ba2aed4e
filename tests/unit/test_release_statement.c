/* The payload of a release as a function of its record's line: exact bytes, and canonical whatever members the record has. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "audit/statement.h"
#include "base/json.h"

static const char RECORD[] =
    "{\"artifact\":{\"app\":\"a\",\"channel\":\"c\",\"version\":\"1.2.3\"},\"detail\":{\"environment\":\"production\",\"issued\":\"2026-01-02T03:04:05.000000Z\","
    "\"log_head\":{\"hash\":\"ff\",\"seq\":7},\"name\":\"n\",\"size\":9007199254740991},\"digest\":{\"alg\":\"sha256\",\"hex\":\"00ff\"},"
    "\"key\":{\"name\":\"release\",\"version\":1},\"req\":\"0123\",\"source_claimed\":\"a \\\"b\\\" \\\\ \xc3\xa4\\u001f\"}";
static const char PAYLOAD[] =
    "{\"_type\":\"https://in-toto.io/Statement/v1\",\"predicate\":{\"app\":\"a\",\"channel\":\"c\",\"environment\":\"production\",\"instance\":\"beef\","
    "\"issued\":\"2026-01-02T03:04:05.000000Z\",\"key\":{\"name\":\"release\",\"version\":1},\"log_head\":{\"hash\":\"ff\",\"seq\":7},\"name\":\"n\","
    "\"request_id\":\"0123\",\"size\":9007199254740991,\"source_claimed\":\"a \\\"b\\\" \\\\ \xc3\xa4\\u001f\",\"version\":\"1.2.3\"},"
    "\"predicateType\":\"https://kmsd.dev/release/v1\",\"subject\":[{\"digest\":{\"sha256\":\"00ff\"},\"name\":\"n\"}]}";

static void read_line(struct span text, struct record_line *out)
{
    struct err e = {0};

    assert_int_equal(record_line_read(text, out, &e), 0);
}

static void test_bytes(void **state)
{
    BUF_AUTO out = BUF_INIT(4096);
    struct record_line line;
    struct err e = {0};

    (void)state;
    read_line(span_str(RECORD), &line);
    assert_int_equal(statement_payload(&line, "beef", &out, &e), 0);
    assert_string_equal(buf_str(&out), PAYLOAD);
}

/* Reading it and writing it anew gives the same bytes. */
static void assert_canonical(const json_t *record)
{
    BUF_AUTO out = BUF_INIT(4096), again = BUF_INIT(4096), text = BUF_INIT(4096);
    struct record_line line;
    struct err e = {0};

    json_canonical(&text, record);
    read_line(buf_span(&text), &line);
    assert_int_equal(statement_payload(&line, "beef", &out, &e), 0);
    JSON_AUTO *read = json_read_object(out.data, out.len, out.len, &e);
    assert_non_null(read);
    json_canonical(&again, read);
    assert_string_equal(buf_str(&out), buf_str(&again));
}

static void test_without_a_member(void **state)
{
    static const char *const members[][2] = {{"artifact", "app"},    {"artifact", "channel"}, {"artifact", "version"}, {"detail", "environment"},
                                             {"detail", "issued"},   {"detail", "log_head"},  {"detail", "name"},      {"detail", "size"},
                                             {"digest", "hex"},      {NULL, "key"},           {NULL, "source_claimed"}, {NULL, "artifact"},
                                             {NULL, "detail"},       {NULL, "digest"},        {NULL, "req"}};
    struct err e = {0};

    (void)state;
    for (size_t n = 0; n < sizeof members / sizeof *members; n++) {
        JSON_AUTO *r = json_read_object(RECORD, sizeof RECORD - 1, sizeof RECORD, &e);
        json_t *in = members[n][0] ? json_object_get(r, members[n][0]) : r;

        assert_int_equal(json_object_del(in, members[n][1]), 0);
        assert_canonical(r);
    }
}

static void test_what_is_too_long_is_refused(void **state)
{
    BUF_AUTO room = BUF_INIT(sizeof PAYLOAD - 1), less = BUF_INIT(sizeof PAYLOAD - 2);
    struct record_line line;
    struct err e = {0};

    (void)state;
    read_line(span_str(RECORD), &line);
    assert_int_equal(statement_payload(&line, "beef", &room, &e), 0);
    assert_int_equal(statement_payload(&line, "beef", &less, &e), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_bytes), cmocka_unit_test(test_without_a_member), cmocka_unit_test(test_what_is_too_long_is_refused)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
