/* Tests of kmsd/reader: rows out of a log into the index, searches against a scan, what is noticed of a file that is not what was written. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "audit/logdir.h"
#include "base/fsutil.h"
#include "kmsd/reader/fill.h"
#include "kmsd/reader/store.h"
#include "tests/longlog/records.h"

#define RECORDS 33300              /* two blocks, and some that are in memory */
#define SEGMENTS 3
#define RECENT (RECORDS % BLOCK_RECORDS)

static char dir[64], db[96];
static struct records g;
static json_t *parsed[RECORDS];
static bool ended;

static bool go_on(void *ctx)
{
    return !ctx || !*(bool *)ctx;
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

/* What is searched for, of a record; and that the index takes the same out of its line. */
static json_t *searched(struct span line)
{
    static const char *const rest[] = {"body_sha256", "boot", "detail", "idem", "policy", "request", "signature", "src"};
    struct row row;
    struct err e = {0};
    json_t *record = json_read_object(line.data, line.len, RECORD_LINE_MAX, &e);

    assert_non_null(record);
    assert_int_equal(row_read(line, &row, &e), 0);
    assert_true(row.place.seq == rec_int(record, "seq") && span_eq_str(row.prev, rec_str(record, "prev")));
    for (unsigned n = 0; n < SEARCH_FIELD_COUNT; n++)
        assert_true(span_eq_str(row.field[n], search_value(record, (enum search_field)n)));
    for (size_t n = 0; n < sizeof rest / sizeof *rest; n++)
        json_object_del(record, rest[n]);
    return record;
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
    for (size_t seq = 0, at = 0; seq < RECORDS; seq++) {
        const uint8_t *line = g.lines.data + at;
        size_t len = (size_t)((const uint8_t *)memchr(line, '\n', g.lines.len - at) - line);

        parsed[seq] = searched(span_of(line, len));
        at += len + 1;
    }
    return 0;
}

static void remove_index(void)
{
    static const char *const ends[] = {"", "-wal"};
    char path[112];

    for (size_t n = 0; n < sizeof ends / sizeof *ends; n++) {
        snprintf(path, sizeof path, "%s%s", db, ends[n]);
        unlink(path);
    }
}

static int clean(void **state)
{
    char path[160];

    (void)state;
    for (unsigned n = 0; n < SEGMENTS; n++) {
        segment_path(n, path);
        unlink(path);
    }
    remove_index();
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
    assert_true(index_blocks(x) == RECORDS / BLOCK_RECORDS);
    tail_end(&t);
    return x;
}

/* Walks all pages and compares them with every record of the log. */
static unsigned compare_until(struct index *x, const char *query, bool descending, unsigned limit, int64_t until)
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
        assert_int_equal(index_find(x, &s, until, &page, &e), 0);
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
        assert_false(page.more && s.has_after && s.after == page.upto);
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

static unsigned compare(struct index *x, const char *query, bool descending, unsigned limit)
{
    return compare_until(x, query, descending, limit, INT64_MAX);
}

static const char *const names[] = {
#define X(code, parameter, member) parameter,
    SEARCH_FIELDS(X)
#undef X
};

/* Each value of a record alone, and two of them. */
static void compare_record(struct index *x, uint64_t seq)
{
    const json_t *record = parsed[seq];

    for (unsigned f = 0; f < SEARCH_FIELD_COUNT; f++)
        for (unsigned other = f; other < SEARCH_FIELD_COUNT; other += 3) {
            const char *value = search_value(record, (enum search_field)f), *second = search_value(record, (enum search_field)other);
            BUF_AUTO query = BUF_INIT(512);

            if (!*value || !*second)
                continue;
            buf_printf(&query, "%s=%s", names[f], value);
            if (other != f)
                buf_printf(&query, "&%s=%s", names[other], second);
            if (seq % 3 == 0)
                buf_printf(&query, "&since=%s", json_string_value(json_object_get(record, "time")));
            assert_true(compare(x, buf_str(&query), seq % 2, 100) >= 1);
        }
}

static void finds_what_a_scan_finds(void **state)
{
    static const char *const queries[] = {"", "event=sign.release", "outcome=denied", "event=sign.release&outcome=ok", "actor=nobody", "event=no.such",
                                          "version=1.0.0"};
    struct index *x = whole();
    unsigned hits = 0;

    (void)state;
    for (size_t n = 0; n < sizeof queries / sizeof *queries; n++)
        for (unsigned limit = 1000; limit >= 30; limit /= 30)
            hits += compare(x, queries[n], false, limit) + compare(x, queries[n], true, limit);
    assert_true(hits > RECORDS * 6);
    for (uint64_t seq = 0; seq < RECORDS; seq += 6661)
        compare_record(x, seq);
    compare_record(x, BLOCK_RECORDS - 1);
    compare_record(x, BLOCK_RECORDS);
    compare_record(x, RECORDS - 1);
    index_close(x);
}

/* A page for which there was no time has what one block has, and the next one goes on there. */
static void pages_without_time(void **state)
{
    static const char *const queries[] = {"", "outcome=denied", "event=log.genesis", "actor=nobody"};
    struct index *x = whole();

    (void)state;
    for (size_t n = 0; n < sizeof queries / sizeof *queries; n++)
        for (unsigned down = 0; down < 2; down++)
            (void)compare_until(x, queries[n], down, 1000, 0);
    index_close(x);
}

/* Pages stay what they are while records are added behind them, and while a block moves from memory to the file. */
static void pages_do_not_move(void **state)
{
    struct place places[SEARCH_LIMIT_MAX];
    struct index_page page = {.place = places};
    struct search s;
    struct index *x = NULL;
    struct tail t;
    struct err e = {0};
    uint64_t next = 0, before = 0;

    (void)state;
    tail_start(&t, dir);
    assert_int_equal(index_create(db, &watch, &x, &e), 0);
    assert_int_equal(fill(x, &t, BLOCK_RECORDS - 10), 0);
    assert_int_equal(search_parse("limit=1000", &s, &e), 0);
    while (next < RECORDS) {
        assert_int_equal(index_find(x, &s, INT64_MAX, &page, &e), 0);
        for (unsigned n = 0; n < page.n; n++)
            assert_true(places[n].seq == next++);
        assert_true(page.more == (next < t.next) && page.n);
        s.has_after = true;
        s.after = page.upto;
        assert_int_equal(fill(x, &t, t.next + 1500), 0);
    }
    assert_int_equal(search_parse("limit=7&order=desc", &s, &e), 0);
    assert_int_equal(index_find(x, &s, INT64_MAX, &page, &e), 0);
    before = places[0].seq;
    assert_true(page.n == 7 && before == RECORDS - 1 && page.more);
    tail_end(&t);
    index_close(x);
}

/* The lines of a page, whichever segments they are in: from one segment into another, back, and into one that is gone. */
static void lines_by_their_places(void **state)
{
    static const uint64_t seqs[] = {0, 1, RECORDS / SEGMENTS - 1, RECORDS / SEGMENTS, RECORDS - 1, 5, RECORDS / 2};
    struct segment_file file = {dir, -1, 0};
    struct err e = {0};
    char path[160];

    (void)state;
    for (size_t n = 0; n < sizeof seqs / sizeof *seqs; n++) {
        BUF_AUTO line = BUF_INIT(RECORD_LINE_MAX);
        uint64_t segment = seqs[n] / (RECORDS / SEGMENTS) * (RECORDS / SEGMENTS), at = records_offset(&g, seqs[n]);
        struct place p = {.seq = seqs[n], .segment = segment, .offset = at - records_offset(&g, segment)};

        p.length = (uint32_t)(records_offset(&g, seqs[n] + 1) - at - 1);
        sha256(g.lines.data + at, p.length, p.hash);
        assert_int_equal(place_read(&file, &p, &line, &e), 0);
        assert_memory_equal(line.data, g.lines.data + at, p.length);
        p.segment += RECORDS / SEGMENTS - 1;
        assert_int_equal(place_read(&file, &p, &line, &e), -1);
        p.segment = segment;
        p.offset++;
        assert_int_equal(place_read(&file, &p, &line, &e), -1);
        assert_int_equal(line.len, p.length);
    }
    segment_file_end(&file);
    segment_path(0, path);
    assert_int_equal(unlink(path), 0);
    struct place first = {.length = 10};
    BUF_AUTO line = BUF_INIT(RECORD_LINE_MAX);
    assert_int_equal(place_read(&file, &first, &line, &e), -1);
    write_segment(0, part(0));
}

static void goes_on_behind_its_blocks(void **state)
{
    struct index *x = whole();
    struct segment_file file = {dir, -1, 0};
    struct place last;
    struct tail t;
    struct err e = {0};
    BUF_AUTO line = BUF_INIT(RECORD_LINE_MAX);

    (void)state;
    index_close(x);
    assert_int_equal(index_open(db, &watch, &x, &e), 0);
    assert_int_equal(index_last(x, &last, &e), 1);
    assert_true(last.seq == RECORDS - RECENT - 1 && index_in_place(x) && index_blocks(x) == 2);
    assert_int_equal(place_read(&file, &last, &line, &e), 0);
    assert_int_equal(tail_resume(&t, dir, &last, &e), 0);
    assert_int_equal(fill(x, &t, UINT64_MAX), 0);
    assert_true(t.next == RECORDS);
    tail_end(&t);
    (void)compare(x, "outcome=denied", true, 1000);
    for (uint64_t n = 0; n < 2; n++)
        assert_int_equal(index_scrub(x, n, &e), 0);
    assert_int_equal(index_scrub(x, 2, &e), INDEX_SPOILT);
    last.hash[0] ^= 1;
    assert_int_equal(place_read(&file, &last, &line, &e), -1);
    segment_file_end(&file);
    assert_int_equal(tail_resume(&t, dir, &last, &e), -1);
    tail_end(&t);
    unlink(db);
    assert_false(index_in_place(x));
    index_close(x);
    assert_int_equal(index_open(db, &watch, &x, &e), INDEX_SPOILT);
}

/* The end of the process in the middle of a block: what was complete before is there, and nothing else. */
static void half_a_block_is_none(void **state)
{
    const struct index_watch stop = {go_on, &ended};
    struct index *x = NULL;
    struct place last;
    struct tail t;
    struct err e = {0};

    (void)state;
    tail_start(&t, dir);
    assert_int_equal(index_create(db, &watch, &x, &e), 0);
    assert_int_equal(fill(x, &t, BLOCK_RECORDS + 5), 0);
    index_close(x);
    assert_int_equal(index_open(db, &stop, &x, &e), 0);
    assert_int_equal(index_last(x, &last, &e), 1);
    assert_true(last.seq == BLOCK_RECORDS - 1);
    tail_end(&t);
    assert_int_equal(tail_resume(&t, dir, &last, &e), 0);
    assert_int_equal(fill(x, &t, 2 * BLOCK_RECORDS - 1), 0);
    ended = true;
    assert_int_equal(fill(x, &t, 2 * BLOCK_RECORDS), INDEX_LATE);
    tail_end(&t);
    index_close(x);
    assert_int_equal(index_open(db, &watch, &x, &e), 0);
    assert_true(index_blocks(x) == 1);
    assert_int_equal(index_scrub(x, 0, &e), 0);
    index_close(x);
}

/* No room for a block: the ones before it are whole, and it is written once there is room again. */
static void a_full_disk(void **state)
{
    struct index *x = NULL;
    struct place last;
    struct tail t;
    struct err e = {0};

    (void)state;
    tail_start(&t, dir);
    assert_int_equal(index_create(db, &watch, &x, &e), 0);
    assert_int_equal(fill(x, &t, BLOCK_RECORDS + 5), 0);
    assert_int_equal(store_run(x, "PRAGMA max_page_count = 700", &e), 0);
    assert_int_equal(fill(x, &t, UINT64_MAX), INDEX_FAILED);
    index_close(x);
    tail_end(&t);
    assert_int_equal(index_open(db, &watch, &x, &e), 0);
    assert_true(index_blocks(x) == 1 && index_last(x, &last, &e) == 1);
    assert_int_equal(tail_resume(&t, dir, &last, &e), 0);
    assert_int_equal(fill(x, &t, UINT64_MAX), 0);
    assert_true(index_blocks(x) == 2 && !index_scrub(x, 0, &e) && !index_scrub(x, 1, &e));
    (void)compare(x, "outcome=denied", false, 1000);
    tail_end(&t);
    index_close(x);
}

/* The reader goes as far as it is told, and no further; a line that is not the next record stops it. */
static void stops_where_the_log_does(void **state)
{
    struct tail t;
    struct row row;
    struct err e = {0};
    BUF_AUTO broken = BUF_INIT(64 << 20);
    int got;

    (void)state;
    tail_start(&t, dir);
    assert_int_equal(tail_next(&t, 0, &row, &e), 0);
    assert_int_equal(tail_next(&t, 1, &row, &e), 1);
    assert_int_equal(tail_next(&t, 1, &row, &e), 0);
    tail_end(&t);
    buf_put(&broken, part(1).data, part(1).len);
    broken.data[broken.len / 2] ^= 1;
    write_segment(1, buf_span(&broken));
    tail_start(&t, dir);
    while ((got = tail_next(&t, UINT64_MAX, &row, &e)) > 0)
        ;
    assert_int_equal(got, -1);
    assert_true(t.next > RECORDS / SEGMENTS && t.next < 2 * RECORDS / SEGMENTS);
    tail_end(&t);
    write_segment(1, part(1));
}

/* What was cut off again, and written otherwise, before it was said to be on disk: bytes behind the head are not kept. */
static void forgets_what_was_not_sure(void **state)
{
    size_t from = records_offset(&g, 100), upto = records_offset(&g, 101);
    BUF_AUTO text = BUF_INIT(64 << 20);
    struct tail t;
    struct row row;
    struct err e = {0};

    (void)state;
    for (uint64_t first = 99; first <= 100; first++) {
        tail_start(&t, dir);
        for (uint64_t n = 0; n < first; n++)
            assert_int_equal(tail_next(&t, 100, &row, &e), 1);
        buf_clear(&text);
        buf_put(&text, part(0).data, part(0).len);
        *(uint8_t *)memchr(text.data + from, ':', upto - from) = ';';
        write_segment(0, buf_span(&text));
        (void)close(t.fd);
        t.fd = -1; /* the same name is another file now */
        for (uint64_t n = first; n < 100; n++)
            assert_int_equal(tail_next(&t, 200, &row, &e), 1);
        assert_int_equal(tail_next(&t, 200, &row, &e), -1);
        tail_end(&t);
        write_segment(0, part(0));
    }
}

static void put_back(const struct buf *made)
{
    struct err e = {0};

    remove_index();
    assert_int_equal(file_write_atomic(db, made->data, made->len, 0600, &e), 0);
}

static void alter(const char *sql)
{
    sqlite3 *other = NULL;

    assert_int_equal(sqlite3_open(db, &other), SQLITE_OK);
    if (sqlite3_exec(other, sql, NULL, NULL, NULL))
        fail_msg("%s: %s", sql, sqlite3_errmsg(other));
    assert_int_equal(sqlite3_close(other), SQLITE_OK);
}

/* Sound as a database, and not what was written. */
static void notices_what_was_altered(void **state)
{
    static const char *const at_start[] = {"DELETE FROM record WHERE seq = 3", "DELETE FROM block WHERE block = 0", "DELETE FROM block WHERE block = 1",
                                           "INSERT INTO block VALUES(2, zeroblob(32))", "UPDATE record SET seq = 99999 WHERE seq = 5", "CREATE INDEX i ON record(time)",
                                           "CREATE TABLE t(x)", "CREATE TRIGGER t AFTER INSERT ON record BEGIN DELETE FROM record WHERE seq = 0; END",
                                           "PRAGMA user_version = 1", "PRAGMA application_id = 1", "DROP TABLE posting"};
    static const char *const later[] = {"DELETE FROM posting WHERE block = 0 AND value = 'sign.release'", "UPDATE posting SET value = 'x' WHERE block = 0 AND value = 'ok'",
                                        "UPDATE posting SET records = x'0001' WHERE block = 0 AND value = 'denied'", "UPDATE record SET offset = offset + 1 WHERE seq = 7",
                                        "UPDATE record SET time = 0 WHERE seq = 7", "UPDATE record SET hash = zeroblob(32) WHERE seq = 7",
                                        "UPDATE record SET hash = 'x' WHERE seq = 7", "UPDATE block SET sum = zeroblob(32) WHERE block = 0",
                                        "INSERT INTO posting VALUES(0, 0, 'x', x'0000')",
                                        "INSERT INTO posting VALUES(0, 0, 'x', zeroblob(200000))", "INSERT INTO posting VALUES(0, 0, 'x', zeroblob(3000000))",
                                        "INSERT INTO posting VALUES(0, 0, hex(zeroblob(100000)), x'0000')", "UPDATE record SET hash = zeroblob(3000000) WHERE seq = 7",
                                        "UPDATE block SET sum = zeroblob(3000000) WHERE block = 0", "UPDATE record SET length = -1 WHERE seq = 7",
                                        "UPDATE record SET length = length + 4294967296 WHERE seq = 7", "UPDATE record SET time = 'x' WHERE seq = 7"};
    BUF_AUTO made = BUF_INIT(64 << 20);
    struct index *x = NULL;
    struct err e = {0};

    (void)state;
    index_close(whole());
    assert_int_equal(file_read(db, &made, &e), 0);
    for (size_t n = 0; n < sizeof at_start / sizeof *at_start; n++) {
        put_back(&made);
        alter(at_start[n]);
        if (index_open(db, &watch, &x, &e) != INDEX_SPOILT)
            fail_msg("%s", at_start[n]);
    }
    for (size_t n = 0; n < sizeof later / sizeof *later; n++) {
        put_back(&made);
        alter(later[n]);
        assert_int_equal(index_open(db, &watch, &x, &e), 0);
        assert_int_equal(index_scrub(x, 1, &e), 0);
        if (index_scrub(x, 0, &e) != INDEX_SPOILT)
            fail_msg("%s", later[n]);
        index_close(x);
    }
}

static void sets(void **state)
{
    static const unsigned limits[] = {0, 1, 63, 64, 65, 1000, BLOCK_RECORDS - 1, BLOCK_RECORDS};
    static const char *const wrong[] = {"", "\1", "\0\1\0", "\0\2\0\1", "\0\1\0\1", "\100\0"};
    static const size_t len[] = {0, 1, 3, 4, 4, 2};
    BUF_AUTO bytes = BUF_INIT(SET_MAP_LEN);
    struct set s, other;

    (void)state;
    for (unsigned a = 0; a < 8; a++)
        for (unsigned b = a; b < 8; b++) {
            int first = a == b ? -1 : (int)limits[a], last = a == b ? -1 : (int)limits[b] - 1;

            set_range(&s, limits[a], limits[b]);
            assert_true(set_next(&s, 0) == first && set_before(&s, BLOCK_RECORDS) == last && set_next(&s, limits[b]) == -1 && set_before(&s, limits[a]) == -1);
            buf_clear(&bytes);
            set_map(&s, &bytes);
            assert_int_equal(set_unpack(&other, buf_span(&bytes)), 0);
            assert_memory_equal(&s, &other, sizeof s);
        }
    assert_int_equal(set_unpack(&s, span_of("\0\7\77\377", 4)), 0);
    assert_true(set_next(&s, 0) == 7 && set_next(&s, 8) == BLOCK_RECORDS - 1 && set_before(&s, BLOCK_RECORDS - 1) == 7);
    set_range(&other, 8, 9);
    assert_false(set_meet(&s, &other));
    for (size_t n = 0; n < sizeof len / sizeof *len; n++)
        assert_int_equal(set_unpack(&s, span_of(wrong[n], len[n])), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_without_time),  cmocka_unit_test(a_full_disk), cmocka_unit_test(forgets_what_was_not_sure),
        cmocka_unit_test(finds_what_a_scan_finds), cmocka_unit_test(pages_do_not_move),   cmocka_unit_test(lines_by_their_places), cmocka_unit_test(goes_on_behind_its_blocks),
        cmocka_unit_test(half_a_block_is_none),    cmocka_unit_test(stops_where_the_log_does), cmocka_unit_test(notices_what_was_altered), cmocka_unit_test(sets),
    };

    return cmocka_run_group_tests(tests, make, clean);
}
