/* Tests of audit/logscan.c and of reading from a place (audit/logdir.c). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "audit/logscan.h"
#include "base/fsutil.h"
#include "tests/longlog/records.h"

#define SEGMENTS 4
#define RECORDS 40 /* a segment */

static char dir[] = "/tmp/test_logscan.XXXXXX";
static struct records g;

static void path_of(uint64_t first, char out[static 64])
{
    (void)snprintf(out, 64, "%s/%020llu.jsonl", dir, (unsigned long long)first);
}

static void write_segment(uint64_t first, struct span text)
{
    char path[64];
    struct err e = {0};

    path_of(first, path);
    assert_int_equal(file_write_atomic(path, text.data, text.len, 0640, &e), 0);
}

static struct span segment(unsigned n)
{
    size_t from = records_offset(&g, (uint64_t)n * RECORDS), upto = records_offset(&g, (uint64_t)(n + 1) * RECORDS);

    return span_of(g.lines.data + from, upto - from);
}

static void write_all(void)
{
    for (unsigned n = 0; n < SEGMENTS; n++)
        write_segment((uint64_t)n * RECORDS, segment(n));
}

static int make(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    json_object_seed(1);
    records_begin(&g, 11);
    records_add(&g, SEGMENTS * RECORDS - 1);
    write_all();
    return 0;
}

static int clean(void **state)
{
    char path[64];

    (void)state;
    for (unsigned n = 0; n < SEGMENTS; n++) {
        path_of((uint64_t)n * RECORDS, path);
        unlink(path);
    }
    records_end(&g);
    return rmdir(dir);
}

static void hash_before(uint64_t seq, char out[static SHA256_HEX])
{
    size_t from = records_offset(&g, seq - 1), upto = records_offset(&g, seq);

    sha256_hex(g.lines.data + from, upto - from - 1, out);
}

/* Every record is found where it is. */
static void finds_places(void **state)
{
    struct log_place place;
    struct err e = {0};
    char hash[SHA256_HEX];

    (void)state;
    for (uint64_t seq = 1; seq <= SEGMENTS * RECORDS; seq++) {
        unsigned n = (unsigned)((seq - 1) / RECORDS);

        if (logscan_seek(dir, seq, &place, &e))
            fail_msg("%llu: %s", (unsigned long long)seq, e.detail);
        hash_before(seq, hash);
        assert_string_equal(place.prev, hash);
        assert_int_equal(place.next, seq);
        assert_int_equal(place.offset, records_offset(&g, seq) - records_offset(&g, (uint64_t)n * RECORDS));
        assert_int_equal(strtoull(place.segment, NULL, 10), (uint64_t)n * RECORDS);
        assert_int_equal(logscan_join(dir, &place, &e), 0);
    }
    assert_int_equal(logscan_seek(dir, SEGMENTS * RECORDS + 1, &place, &e), -1);
}

static void finds_lines(void **state)
{
    struct err e = {0};

    (void)state;
    for (uint64_t seq = 0; seq < SEGMENTS * RECORDS; seq++) {
        BUF_AUTO line = BUF_INIT(RECORD_LINE_MAX);
        size_t from = records_offset(&g, seq);

        assert_int_equal(logscan_line(dir, seq, &line, &e), 0);
        assert_true(span_eq(buf_span(&line), span_of(g.lines.data + from, records_offset(&g, seq + 1) - from - 1)));
    }
    BUF_AUTO none = BUF_INIT(RECORD_LINE_MAX);
    assert_int_equal(logscan_line(dir, SEGMENTS * RECORDS, &none, &e), -1);
}

static int count(void *ctx, const json_t *record, struct span line, struct err *e)
{
    (void)line;
    if (rec_int(record, "seq") != *(uint64_t *)ctx)
        return err_set(e, ERR_INTERNAL, "another record");
    ++*(uint64_t *)ctx;
    return 0;
}

/* Reading goes on behind any record, and what lies before is not looked at. */
/* While a group is being written, part of it is there. */
static void finds_lines_before_half_a_line(void **state)
{
    BUF_AUTO text = BUF_INIT(1 << 20), line = BUF_INIT(RECORD_LINE_MAX);
    struct err e = {0};
    const uint64_t first = (SEGMENTS - 1) * RECORDS;

    (void)state;
    buf_put(&text, segment(SEGMENTS - 1).data, segment(SEGMENTS - 1).len);
    for (unsigned n = 0; n < 30000; n++)
        buf_putc(&text, 'x');
    write_segment(first, buf_span(&text));
    for (uint64_t seq = first; seq < SEGMENTS * RECORDS; seq++) {
        buf_clear(&line);
        if (logscan_line(dir, seq, &line, &e))
            fail_msg("%llu: %s", (unsigned long long)seq, e.detail);
    }
    assert_int_equal(logscan_line(dir, SEGMENTS * RECORDS, &line, &e), -1);
    write_segment(first, segment(SEGMENTS - 1));
}

static void reads_from_places(void **state)
{
    (void)state;
    for (uint64_t seq = 1; seq <= SEGMENTS * RECORDS; seq += 13) {
        struct log_place place;
        struct err e = {0};
        struct logdir log;
        json_t *recovered = NULL;
        uint64_t next = seq;
        const struct log_reader reader = {.each = count, .ctx = &next};

        assert_int_equal(logscan_seek(dir, seq, &place, &e), 0);
        if (logdir_open_at(&log, dir, &place, &reader, &recovered, &e))
            fail_msg("%llu: %s", (unsigned long long)seq, e.detail);
        assert_null(recovered);
        assert_int_equal(next, SEGMENTS * RECORDS);
        logdir_close(&log);
        place.prev[0] ^= 1;
        next = seq;
        if (seq < SEGMENTS * RECORDS)
            assert_int_equal(logdir_open_at(&log, dir, &place, &reader, &recovered, &e), -1);
    }
}

/* The newest place, given to join. */
static const char *joined(uint64_t seq)
{
    static struct err e;
    struct log_place place;

    e = (struct err){0};
    return logscan_seek(dir, seq, &place, &e) || logscan_join(dir, &place, &e) ? e.detail : "";
}

static void segments_must_join(void **state)
{
    const uint64_t end = SEGMENTS * RECORDS;
    char path[64];

    (void)state;
    for (unsigned n = 0; n < SEGMENTS - 1; n++) {
        struct span text = segment(n);
        BUF_AUTO other = BUF_INIT(1 << 20);

        path_of((uint64_t)n * RECORDS, path);
        unlink(path);
        assert_string_not_equal(joined(end), "");
        write_segment((uint64_t)n * RECORDS, span_of(text.data, text.len - 1)); /* without its last LF */
        assert_string_not_equal(joined(end), "");
        write_segment((uint64_t)n * RECORDS, span_of(text.data, text.len / 2));
        assert_string_not_equal(joined(end), "");
        write_segment((uint64_t)n * RECORDS, span_of(text.data, 0));
        assert_string_not_equal(joined(end), "");
        buf_put(&other, text.data, text.len); /* another last record */
        other.data[text.len - 11] ^= 1; /* in its time */
        write_segment((uint64_t)n * RECORDS, buf_span(&other));
        assert_string_not_equal(joined(end), "");
        write_segment((uint64_t)n * RECORDS, text);
        assert_string_equal(joined(end), "");
    }
    /* What comes behind the place is not asked for. */
    path_of((SEGMENTS - 1) * RECORDS, path);
    unlink(path);
    assert_string_equal(joined(2 * RECORDS), "");
    write_all();
}

struct found {
    uint64_t seq[SEGMENTS * RECORDS];
    unsigned n, most;
};

static bool note(void *ctx, const json_t *record)
{
    struct found *f = ctx;

    assert_string_equal(rec_str(record, "event"), "sign.release");
    f->seq[f->n++] = rec_int(record, "seq");
    return f->n < f->most;
}

/* From the end, each once, until it is enough; an unfinished line and one that is no record are passed over. */
static void finds_the_newest(void **state)
{
    static struct found all, few, torn;
    BUF_AUTO tail = BUF_INIT(1 << 20);
    struct err e = {0};
    struct span last = segment(SEGMENTS - 1);

    (void)state;
    all.most = SEGMENTS * RECORDS;
    few.most = 3;
    assert_int_equal(logscan_back(dir, "sign.release", note, &all, &e), 0);
    assert_int_equal(logscan_back(dir, "sign.release", note, &few, &e), 0);
    assert_true(all.n > 50 && few.n == 3);
    for (unsigned n = 1; n < all.n; n++)
        assert_true(all.seq[n] < all.seq[n - 1]);
    assert_memory_equal(all.seq, few.seq, 3 * sizeof *few.seq);
    buf_put(&tail, last.data, last.len);
    buf_puts(&tail, "{ \"event\":\"sign.release\"}\n{\"event\":\"sign.release\"");
    write_segment((SEGMENTS - 1) * RECORDS, buf_span(&tail));
    torn.most = 3;
    assert_int_equal(logscan_back(dir, "sign.release", note, &torn, &e), 0);
    assert_memory_equal(all.seq, torn.seq, 3 * sizeof *torn.seq);
    write_all();
}

/* The reason is told, also where the system has none. */
static void refuses_what_is_no_file(void **state)
{
    static struct found none;
    struct err e = {0};
    char path[64];

    (void)state;
    path_of((SEGMENTS - 1) * RECORDS, path);
    unlink(path);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(logscan_back(dir, "sign.release", note, &none, &e), -1);
    assert_non_null(strstr(e.detail, "is no regular file"));
    assert_int_equal(rmdir(path), 0);
    write_all();
}

/* A number below 0 is not that of the first record. */
static void finds_no_number_below_zero(void **state)
{
    BUF_AUTO line = BUF_INIT(RECORD_LINE_MAX);
    struct err e = {0};

    (void)state;
    write_segment(0, span_str("{\"seq\":-1}\n"));
    assert_int_equal(logscan_line(dir, 0, &line, &e), -1);
    write_all();
}

static void refuses_what_is_no_directory(void **state)
{
    static struct found none;
    struct log_place place;
    struct err e = {0};

    (void)state;
    assert_int_equal(logscan_back("/tmp/test_logscan.none", "sign.release", note, &none, &e), -1);
    assert_int_equal(logscan_seek("/tmp/test_logscan.none", 1, &place, &e), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(finds_places), cmocka_unit_test(finds_lines),      cmocka_unit_test(reads_from_places), cmocka_unit_test(segments_must_join),
                                       cmocka_unit_test(finds_the_newest), cmocka_unit_test(finds_lines_before_half_a_line), cmocka_unit_test(refuses_what_is_no_directory),
                                       cmocka_unit_test(refuses_what_is_no_file), cmocka_unit_test(finds_no_number_below_zero)};

    return cmocka_run_group_tests(tests, make, clean);
}
