/* Tests of audit/logsegments.c. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "audit/logsegments.h"
#include "base/fsutil.h"

static char dir[] = "/tmp/test_logsegments.XXXXXX";
static const char *const FILES[] = {"00000000000000000007.jsonl", "00000000000000000000.jsonl", "00000000000000000010.jsonl", "torn-7-ab", "7.jsonl"};
#define N_FILES (sizeof FILES / sizeof *FILES)

static void each_file(int (*what)(const char *path))
{
    char path[64];

    for (size_t n = 0; n < N_FILES; n++) {
        (void)snprintf(path, sizeof path, "%s/%s", dir, FILES[n]);
        assert_int_equal(what(path), 0);
    }
}

static int put(const char *path)
{
    return file_write_atomic(path, "12345", 5, 0640, NULL);
}

static int make(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    each_file(put);
    return 0;
}

static int clean(void **state)
{
    (void)state;
    each_file(unlink);
    return rmdir(dir);
}

static void names(void **state)
{
    char name[SEGMENT_NAME + 1];

    (void)state;
    assert_true(logdir_is_segment("00000000000000000000.jsonl"));
    assert_false(logdir_is_segment("0000000000000000000.jsonl"));
    assert_false(logdir_is_segment("000000000000000000000.jsonl"));
    assert_false(logdir_is_segment("0000000000000000000a.jsonl"));
    assert_false(logdir_is_segment("00000000000000000000.jsonx"));
    segment_name(UINT64_MAX, name);
    assert_string_equal(name, "18446744073709551615.jsonl");
    assert_true(segment_first(name) == UINT64_MAX);
    segment_name(42, name);
    assert_string_equal(name, "00000000000000000042.jsonl");
    assert_int_equal(segment_first(name), 42);
}

static void listed(void **state)
{
    static const char *const expected[] = {"00000000000000000000.jsonl", "00000000000000000007.jsonl", "00000000000000000010.jsonl"};
    struct log_segments all;
    struct err e = {0};

    (void)state;
    assert_int_equal(segments_list(dir, &all, &e), 0);
    assert_int_equal(all.n, 3);
    for (int n = 0; n < all.n; n++)
        assert_string_equal(all.entry[n]->d_name, expected[n]);
    segments_free(&all);
    assert_int_equal(all.n, 0);
    assert_int_equal(segments_bytes(dir), 15);
}

static void no_directory(void **state)
{
    struct log_segments all;
    struct err e = {0};

    (void)state;
    assert_int_equal(segments_list("/nonexistent", &all, &e), -1);
    assert_non_null(strstr(e.detail, "/nonexistent"));
    segments_free(&all);
    assert_int_equal(segments_bytes("/nonexistent"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(names), cmocka_unit_test(listed), cmocka_unit_test(no_directory)};

    return cmocka_run_group_tests(tests, make, clean);
}
