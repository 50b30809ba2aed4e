/* Tests of audit/search.c. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "audit/search.h"
#include "base/timefmt.h"

#define HEX32 "0123456789abcdef0123456789abcdef"
#define HEX64 HEX32 HEX32

static const struct {
    const char *query;
    enum search_field field;
    const char *value;
} GOOD[] = {
    {"event=sign.release", SEARCH_EVENT, "sign.release"},
    {"outcome=denied", SEARCH_OUTCOME, "denied"},
    {"limit=3&actor=ci-build", SEARCH_ACTOR, "ci-build"},
    {"key=release&order=desc", SEARCH_KEY, "release"},
    {"app=com.Example", SEARCH_APP, "com.Example"},
    {"channel=beta", SEARCH_CHANNEL, "beta"},
    {"version=1.0.0-rc.1+7", SEARCH_VERSION, "1.0.0-rc.1+7"},
    {"version=1.0.0%2B7", SEARCH_VERSION, "1.0.0+7"},
    {"%", SEARCH_FIELD_COUNT, NULL},
    {"digest=" HEX64, SEARCH_DIGEST, HEX64},
    {"digest=" HEX64 HEX32, SEARCH_DIGEST, HEX64 HEX32},
    {"request=" HEX32, SEARCH_REQUEST, HEX32},
};

static void takes(void **state)
{
    (void)state;
    for (size_t n = 0; n < sizeof GOOD / sizeof *GOOD; n++) {
        struct search s;
        struct err e = {0};
        int failed = search_parse(GOOD[n].query, &s, &e);

        assert_int_equal(failed, GOOD[n].value ? 0 : -1);
        for (unsigned f = 0; f < SEARCH_FIELD_COUNT && !failed; f++)
            assert_string_equal(s.text[f], f == GOOD[n].field ? GOOD[n].value : "");
    }
}

static void takes_the_rest(void **state)
{
    struct search s;
    struct err e = {0};
    int64_t at;

    (void)state;
    assert_int_equal(search_parse("", &s, &e), 0);
    assert_true(s.limit == SEARCH_LIMIT && !s.descending && !s.lines && !s.has_after && s.since == INT64_MIN && s.until == INT64_MAX);
    assert_int_equal(search_parse("since=2026-03-03&until=2026-03-03T08%3A09:10.5Z&after=0&limit=1000&order=desc&format=jsonl", &s, &e), 0);
    assert_int_equal(time_parse("2026-03-03T00:00:00.000000Z", &at), 0);
    assert_true(s.since == at);
    assert_int_equal(time_parse("2026-03-03T08:09:10.500000Z", &at), 0);
    assert_true(s.until == at);
    assert_true(s.has_after && s.after == 0 && s.limit == 1000 && s.descending && s.lines);
}

static void refuses(void **state)
{
    static const struct {
        const char *query;
        enum err_code code;
    } bad[] = {
        {"colour=red", ERR_UNKNOWN_MEMBER}, {"event", ERR_UNKNOWN_MEMBER},     {"=x", ERR_UNKNOWN_MEMBER},          {"&", ERR_UNKNOWN_MEMBER},
        {"Event=sign", ERR_UNKNOWN_MEMBER}, {"events=sign", ERR_UNKNOWN_MEMBER}, {"event=", ERR_BAD_REQUEST},        {"event=a&event=a", ERR_BAD_REQUEST},
        {"event=Sign", ERR_BAD_REQUEST},    {"event=a%20b", ERR_BAD_REQUEST},  {"event=a%00", ERR_BAD_REQUEST},     {"event=a%2", ERR_BAD_REQUEST},
        {"event=a%", ERR_BAD_REQUEST},      {"event=a%zz", ERR_BAD_REQUEST},   {"event=%C3%A9", ERR_BAD_REQUEST},   {"outcome=maybe", ERR_BAD_REQUEST},
        {"actor=h%27", ERR_BAD_NAME},       {"key=%25", ERR_BAD_NAME},         {"app=a;b", ERR_BAD_NAME},           {"channel=a*", ERR_BAD_NAME},
        {"version=1'0", ERR_BAD_REQUEST},   {"version=1/0", ERR_BAD_REQUEST},  {"digest=" HEX32, ERR_BAD_REQUEST},  {"digest=" HEX64 "0", ERR_BAD_REQUEST},
        {"request=" HEX64, ERR_BAD_REQUEST}, {"request=0123456789ABCDEF0123456789ABCDEF", ERR_BAD_REQUEST},
        {"since=yesterday", ERR_BAD_REQUEST}, {"since=2026-02-30", ERR_BAD_REQUEST}, {"since=2026-03-03T08:09:10", ERR_BAD_REQUEST},
        {"since=2026-03-03T08:09:10.Z", ERR_BAD_REQUEST}, {"since=2026-03-03T08:09:10.1234567Z", ERR_BAD_REQUEST}, {"until=2026-03-03T08:09:1x.5Z", ERR_BAD_REQUEST},
        {"after=-1", ERR_BAD_REQUEST},      {"after=9007199254740992", ERR_BAD_REQUEST}, {"limit=0", ERR_BAD_REQUEST}, {"limit=1001", ERR_BAD_REQUEST},
        {"order=up", ERR_BAD_REQUEST},      {"format=xml", ERR_BAD_REQUEST},
    };

    (void)state;
    for (size_t n = 0; n < sizeof bad / sizeof *bad; n++) {
        struct search s = {.limit = 77};
        struct err e = {0};

        if (search_parse(bad[n].query, &s, &e) != -1 || e.code != bad[n].code || s.limit != 77)
            fail_msg("%s: %s", bad[n].query, e.detail);
    }
}

static void refuses_what_is_long(void **state)
{
    char query[400];
    struct search s;
    struct err e = {0};

    (void)state;
    memset(query, 'a', sizeof query);
    memcpy(query, "app=", 4);
    query[4 + 128] = '\0';
    assert_int_equal(search_parse(query, &s, &e), 0);
    for (size_t n = 129; n < 390; n += 13) {
        memset(query + 4, 'a', n);
        query[4 + n] = '\0';
        assert_int_equal(search_parse(query, &s, &e), -1);
    }
}

static const char RECORD[] = "{\"actor\":{\"name\":\"ci-build\"},\"artifact\":{\"app\":\"com.example\",\"channel\":\"beta\",\"version\":\"1.0.0\"},"
                             "\"digest\":{\"alg\":\"sha256\",\"hex\":\"" HEX64 "\"},\"event\":\"sign.release\",\"key\":{\"name\":\"release\",\"version\":1},"
                             "\"outcome\":\"ok\",\"req\":\"" HEX32 "\",\"seq\":7,\"time\":\"2026-03-03T08:09:10.000000Z\"}";

static void compares(void **state)
{
    static const struct {
        const char *query;
        bool fits;
    } rows[] = {
        {"", true},
        {"actor=ci-build&app=com.example&channel=beta&version=1.0.0&digest=" HEX64 "&event=sign.release&key=release&outcome=ok&request=" HEX32, true},
        {"actor=ci-buil", false}, {"app=com.exampl", false}, {"channel=production", false}, {"version=1.0.0-a", false}, {"outcome=intent", false},
        {"event=sign", false}, {"key=other", false}, {"request=" "1123456789abcdef0123456789abcdef", false}, {"digest=" HEX64 HEX32, false},
        {"since=2026-03-03T08:09:10Z&until=2026-03-03T08:09:10.000001Z", true}, {"since=2026-03-03T08:09:10.000001Z", false}, {"until=2026-03-03T08:09:10Z", false},
    };
    struct err e = {0};
    JSON_AUTO *record = json_read_object(RECORD, sizeof RECORD - 1, sizeof RECORD, &e);

    (void)state;
    assert_non_null(record);
    for (size_t n = 0; n < sizeof rows / sizeof *rows; n++) {
        struct search s;

        assert_int_equal(search_parse(rows[n].query, &s, &e), 0);
        if (search_matches(&s, record) != rows[n].fits)
            fail_msg("%s", rows[n].query);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes), cmocka_unit_test(takes_the_rest), cmocka_unit_test(refuses), cmocka_unit_test(refuses_what_is_long), cmocka_unit_test(compares),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
