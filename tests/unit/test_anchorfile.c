/* Tests of the anchor's file: which slot is written, which one serves, and what is refused. */
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

#include "audit/anchorfile.h"

#define INSTANCE "00112233445566778899aabbccddeeff"
#define HASH "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static char dir[64], file[128];

static int set_up(void **state)
{
    struct anchor a = {INSTANCE, 100, 0, HASH};
    struct err e = {0};

    (void)state;
    memcpy(dir, "/tmp/test_anchorfile.XXXXXX", 28);
    if (!mkdtemp(dir))
        return -1;
    (void)snprintf(file, sizeof file, "%s/sub/anchor", dir);
    return anchor_file_create(file, &a, &e);
}

static int tear_down(void **state)
{
    char sub[80];

    (void)state;
    (void)unlink(file);
    (void)snprintf(sub, sizeof sub, "%s/sub", dir);
    return rmdir(sub) || rmdir(dir);
}

static void damage(unsigned slot)
{
    int fd = open(file, O_WRONLY);

    assert_int_equal(pwrite(fd, "?", 1, (off_t)slot * ANCHOR_SLOT_DISTANCE + 50), 1);
    close(fd);
}

static void update(uint64_t seq, int64_t now)
{
    struct anchor a = {INSTANCE, 0, seq, HASH};
    struct err e = {0};

    assert_int_equal(anchor_file_update(file, &a, now, &e), 0);
}

static enum anchor_file_state get(struct anchor *a)
{
    enum anchor_file_state state;
    struct err e = {0};

    assert_int_equal(anchor_file_read(file, a, &state, &e), 0);
    return state;
}

static void test_create(void **state)
{
    struct anchor a;
    struct stat st;

    (void)state;
    assert_int_equal(get(&a), ANCHOR_FILE_WHOLE);
    assert_true(a.seq == 0 && a.counter == 100);
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    damage(0);
    assert_int_equal(get(&a), ANCHOR_FILE_HALF);
    assert_true(a.seq == 0);
}

static void test_updates_take_turns(void **state)
{
    struct anchor a;

    (void)state;
    for (uint64_t seq = 1; seq < 10; seq++) {
        update(seq, 0);
        assert_int_equal(get(&a), ANCHOR_FILE_WHOLE);
        assert_true(a.seq == seq && a.counter == 100 + seq);
    }
    update(10, 5000);
    assert_int_equal(get(&a), ANCHOR_FILE_WHOLE);
    assert_true(a.seq == 10 && a.counter == 5000);
}

/* The slot that a crash tears is the older one: the newer one still serves, and the next writing heals the torn one. */
static void test_one_damaged_slot(void **state)
{
    struct anchor a;

    (void)state;
    for (unsigned slot = 0; slot < 2; slot++) {
        update(20, 6000);
        update(21, 7000);
        damage(slot);
        assert_int_equal(get(&a), ANCHOR_FILE_HALF);
        assert_true(a.seq == 20 || a.seq == 21);
        update(22, 8000);
        assert_int_equal(get(&a), ANCHOR_FILE_WHOLE);
        assert_true(a.seq == 22);
    }
}

static void test_no_slot_is_left(void **state)
{
    enum anchor_file_state found;
    struct anchor a;
    struct err e = {0};

    (void)state;
    damage(0);
    damage(1);
    assert_int_equal(get(&a), ANCHOR_FILE_UNUSABLE);
    assert_int_equal(anchor_file_need(file, &a, &found, &e), -1);
    assert_non_null(strstr(e.detail, "kmsd anchor --accept"));
    assert_int_equal(truncate(file, 0), 0);
    assert_int_equal(get(&a), ANCHOR_FILE_UNUSABLE);
    assert_int_equal(unlink(file), 0);
    assert_int_equal(get(&a), ANCHOR_FILE_MISSING);
    assert_int_equal(anchor_file_need(file, &a, &found, &e), -1);
    assert_int_equal(e.code, ERR_LOG_UNAVAILABLE);
    assert_non_null(strstr(e.detail, "no first start"));
}

static void test_only_regular_files(void **state)
{
    enum anchor_file_state found;
    struct anchor a = {INSTANCE, 0, 1, HASH};
    struct err e = {0};

    (void)state;
    assert_int_equal(unlink(file), 0);
    assert_int_equal(mkfifo(file, 0600), 0);
    assert_int_equal(anchor_file_read(file, &a, &found, &e), -1);
    assert_int_equal(anchor_file_update(file, &a, 0, &e), -1);
    assert_int_equal(unlink(file), 0);
    assert_int_equal(symlink("/dev/zero", file), 0);
    assert_int_equal(anchor_file_read(file, &a, &found, &e), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_create, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_updates_take_turns, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_one_damaged_slot, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_slot_is_left, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_only_regular_files, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
