/* Tests of kmsd/reader: rows out of a log into the index, searches against a scan, statements without values. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "audit/logdir.h"
#include "base/fsutil.h"
#include "kmsd/reader/fill.h"
#include "kmsd/reader/sql.h"
#include "tests/longlog/records.h"

#define RECORDS 3000
#define SEGMENTS 3

static char dir[64], db[96];
static struct records g;
static json_t *parsed[RECORDS];
static unsigned calls;

static bool go_on(void *ctx)
{
    calls++;
    return !ctx;
}
static const struct index_watch watch = {go_on, NULL};

static void segment_path(unsigned n, char path[static 160])
{
    snprintf(path, 160, "%s/%020u.jsonl", dir, n * (RECORDS / SEGMENTS));
}

static struct span part(unsigned n)
{
    size_t from = records_offset(&g, (uint64_t)n * (RECORDS / SEGMENTS)), upto = records_offset(&g, (uint64_t)(n + 1) * (RECORDS / SEGMENTS));

    return span_of(g.lines.data + from, upto - from);
}

static void write_segment(unsigned n, struct span text)
{
    struct err e = {0};
    char path[160];

    segment_path(n, path);
    assert_int_equal(file_write_atomic(path, text.data, text.len, 0600, &e), 0);
}

static int make(void **state)
{
    (void)state;
    memcpy(dir, "/tmp/test_index.XXXXXX", 23);
    assert_non_null(mkdtemp(dir));
    snprintf(db, sizeof db, "%s/db", dir);
    records_begin(&g, 5);
    records_add(&g, RECORDS);
    for (unsigned n = 0; n < SEGMENTS; n++)
        write_segment(n, part(n));
    for (uint64_t seq = 0; seq < RECORDS; seq++) {
        size_t from = records_offset(&g, seq);
        struct err e = {0};

        parsed[seq] = json_read_object(g.lines.data + from, records_offset(&g, seq + 1) - from - 1, RECORD_LINE_MAX, &e);
        assert_non_null(parsed[seq]);
    }
    return 0;
}

static int clean(void **state)
{
    char path[160];

    (void)state;
    for (unsigned n = 0; n < SEGMENTS; n++) {
        segment_path(n, path);
        unlink(path);
    }
    unlink(db);
    for (unsigned seq = 0; seq < RECORDS; seq++)
        json_decref(parsed[seq]);
    records_end(&g);
    return rmdir(dir);
}

static int fill(struct index *x, struct tail *t, uint64_t head)
{
    struct err e = {0};
    int n;

    while ((n = fill_some(x, t, head, 700, INT64_MAX, &e)) > 0)
        ;
    if (n)
        print_error("%s\n", e.detail);
    return n;
}

static struct index *whole(void)
{
    struct index *x = NULL;
    struct tail t;
    struct err e = {0};

    tail_start(&t, dir);
    assert_int_equal(index_create(db, &watch, &x, &e), 0);
    assert_int_equal(fill(x, &t, UINT64_MAX), 0);
    assert_true(t.next == RECORDS && t.bytes == records_offset(&g, RECORDS));
    assert_int_equal(index_finish(x, &e), 0);
    tail_end(&t);
    return x;
}

/* Walks all pages and compares them with every record of the log. */
static unsigned compare(struct index *x, const char *query, bool descending, unsigned limit)
{
    struct place places[SEARCH_LIMIT_MAX];
    struct index_page page = {.place = places};
    struct search s;
    struct err e = {0};
    uint64_t seq = descending ? RECORDS : 0;
    unsigned hits = 0;

    assert_int_equal(search_parse(query, &s, &e), 0);
    s.descending = descending;
    s.limit = limit;
    do {
        assert_int_equal(index_find(x, &s, RECORDS, &page, &e), 0);
        for (unsigned n = 0; n < page.n; n++, hits++) {
            bool fits = false;

            while (!fits) { /* the next one that fits */
                uint64_t at = descending ? --seq : seq++;
                json_t *record = at < RECORDS ? parsed[at] : NULL;

                assert_non_null(record);
                fits = search_matches(&s, record);
                if (fits && places[n].seq != at)
                    fail_msg("%s: %llu instead of %llu", query, (unsigned long long)places[n].seq, (unsigned long long)at);
            }
        }
        s.has_after = true;
        s.after = page.upto;
    } while (page.more);
    while (descending ? seq > 0 : seq < RECORDS) {
        const json_t *record = parsed[descending ? --seq : seq++];

        if (search_matches(&s, record))
            fail_msg("%s: one record was not found", query);
    }
    return hits;
}

static void finds_what_a_scan_finds(void **state)
{
    static const char *const queries[] = {"", "event=sign.release", "outcome=denied", "event=sign.release&outcome=ok", "actor=nobody", "event=no.such",
                                          "version=1.0.0"};
    struct index *x = whole();
    unsigned hits = 0;

    (void)state;
    for (size_t n = 0; n < sizeof queries / sizeof *queries; n++)
        for (unsigned limit = 1000; limit >= 10; limit /= 10)
            hits += compare(x, queries[n], false, limit) + compare(x, queries[n], true, limit);
    assert_true(hits > RECORDS * 6);
    for (uint64_t seq = 0; seq < RECORDS; seq += 37) {
        const json_t *record = parsed[seq];

        for (unsigned f = 0; f < SEARCH_FIELD_COUNT; f++) {
            static const char *const names[] = {
#define X(code, parameter, member) parameter,
                SEARCH_FIELDS(X)
#undef X
            };
            BUF_AUTO query = BUF_INIT(512);

            if (!search_value(record, (enum search_field)f)[0])
                continue;
            buf_printf(&query, "%s=%s&since=%s", names[f], search_value(record, (enum search_field)f),
                       json_string_value(json_object_get(record, "time")));
            assert_true(compare(x, buf_str(&query), seq % 2, 100) >= 1);
        }
    }
    index_close(x);
}

static void opens_what_it_made(void **state)
{
    struct index *x = whole();
    struct place last;
    struct tail t;
    struct err e = {0};
    BUF_AUTO line = BUF_INIT(RECORD_LINE_MAX);

    (void)state;
    index_close(x);
    assert_int_equal(index_open(db, &watch, &x, &e), 0);
    assert_int_equal(index_last(x, &last, &e), 1);
    assert_true(last.seq == RECORDS - 1 && index_in_place(x));
    assert_int_equal(place_read(dir, &last, &line, &e), 0);
    assert_int_equal(tail_resume(&t, dir, &last, &e), 0);
    assert_int_equal(fill(x, &t, UINT64_MAX), 0);
    tail_end(&t);
    for (uint64_t n = 0; n < RECORDS; n += 500)
        assert_int_equal(index_scrub(x, n, n + 500, &e), 0);
    last.hash[0] ^= 1;
    assert_int_equal(place_read(dir, &last, &line, &e), -1);
    assert_int_equal(tail_resume(&t, dir, &last, &e), -1);
    tail_end(&t);
    unlink(db);
    assert_false(index_in_place(x));
    index_close(x);
    assert_int_equal(index_open(db, &watch, &x, &e), INDEX_SPOILT);
}

/* An index that is not complete, and one whose making was ended. */
static void refuses_half_of_one(void **state)
{
    const struct index_watch stop = {go_on, &calls};
    struct index *x = NULL;
    struct tail t;
    struct err e = {0};

    (void)state;
    tail_start(&t, dir);
    assert_int_equal(index_create(db, &watch, &x, &e), 0);
    assert_int_equal(fill(x, &t, 100), 0);
    assert_true(t.next == 100);
    index_close(x);
    tail_end(&t);
    assert_int_equal(index_open(db, &watch, &x, &e), INDEX_SPOILT);
    index_close(whole());
    assert_int_equal(index_open(db, &stop, &x, &e), INDEX_LATE);
}

/* The reader goes as far as it is told, and no further; a line that is not the next record stops it. */
static void stops_where_the_log_does(void **state)
{
    struct tail t;
    struct place place;
    struct err e = {0};
    BUF_AUTO broken = BUF_INIT(8 << 20);
    json_t *record = NULL;
    int got;

    (void)state;
    tail_start(&t, dir);
    assert_int_equal(tail_next(&t, 0, &record, &place, &e), 0);
    assert_int_equal(tail_next(&t, 1, &record, &place, &e), 1);
    json_decref(record);
    assert_int_equal(tail_next(&t, 1, &record, &place, &e), 0);
    tail_end(&t);
    buf_put(&broken, part(1).data, part(1).len);
    broken.data[broken.len / 2] ^= 1;
    write_segment(1, buf_span(&broken));
    tail_start(&t, dir);
    while ((got = tail_next(&t, UINT64_MAX, &record, &place, &e)) > 0)
        json_decref(record);
    assert_int_equal(got, -1);
    assert_true(t.next > RECORDS / SEGMENTS && t.next < 2 * RECORDS / SEGMENTS);
    tail_end(&t);
    write_segment(1, part(1));
}

/* Whatever is asked, the text of the statement is one of few: values are bound. */
static void statements_hold_no_values(void **state)
{
    (void)state;
    for (unsigned fields = 0; fields < 1u << SEARCH_FIELD_COUNT; fields += 7)
        for (unsigned n = 0; n <= n_leads; n++) {
            BUF_AUTO text = BUF_INIT(4096);

            sql_find(n < n_leads ? &leads[n] : NULL, fields, fields % 2, &text);
            assert_int_equal(buf_ok(&text), 0);
            assert_null(strpbrk(buf_str(&text), "'\"%;"));
            for (unsigned f = 0; f < SEARCH_FIELD_COUNT; f++) {
                BUF_AUTO bound = BUF_INIT(64);

                buf_printf(&bound, " AND %s = ?%u ", columns[f].name, SQL_FIELD + f);
                assert_true(!strstr(buf_str(&text), buf_str(&bound)) == !(fields & 1u << f));
            }
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_what_a_scan_finds), cmocka_unit_test(opens_what_it_made),       cmocka_unit_test(refuses_half_of_one),
        cmocka_unit_test(stops_where_the_log_does), cmocka_unit_test(statements_hold_no_values),
    };

    return cmocka_run_group_tests(tests, make, clean);
}
