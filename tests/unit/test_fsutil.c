/* Tests of base/fsutil.c. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fsutil.h"

static char dir[] = "/tmp/test_fsutil.XXXXXX";
static char path[64];

static int setup(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof path, "%s/file", dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    (void)unlink(path);
    return rmdir(dir);
}

static unsigned entries(void)
{
    DIR *d = opendir(dir);
    unsigned n = 0;

    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));)
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static void write_and_read(void **state)
{
    BUF_AUTO text = BUF_INIT(5), small = BUF_INIT(4), none = BUF_INIT(10);
    struct stat st;
    struct err e = {0};

    (void)state;
    umask(077);
    assert_int_equal(file_write_atomic(path, "first", 5, 0640, &e), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640); /* the umask does not count */
    assert_int_equal(file_read(path, &text, &e), 0);
    assert_string_equal(buf_str(&text), "first");
    assert_int_equal(file_read(path, &small, &e), -1);
    assert_int_equal(e.code, ERR_TOO_LARGE);
    assert_int_equal(file_write_atomic(path, "", 0, 0600, &e), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(file_read(path, &none, &e), 0);
    assert_int_equal(none.len, 0);
    assert_int_equal(entries(), 1); /* no temporary file is left */
}

static void read_errors(void **state)
{
    BUF_AUTO b = BUF_INIT(10);
    struct err e = {0};
    char fifo[80];

    (void)state;
    assert_int_equal(file_read("/nonexistent/x", &b, &e), -1);
    assert_int_equal(e.code, ERR_NOT_FOUND);
    assert_int_equal(file_read(dir, &b, &e), -1);
    assert_int_equal(e.code, ERR_BAD_REQUEST);
    snprintf(fifo, sizeof fifo, "%s/fifo", dir);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_int_equal(file_read(fifo, &b, &e), -1); /* and does not wait for a writer */
    assert_int_equal(unlink(fifo), 0);
}

static void a_failed_write_leaves_the_old_file(void **state)
{
    BUF_AUTO text = BUF_INIT(10);
    char sub[80];
    struct err e = {0};

    (void)state;
    assert_int_equal(file_write_atomic(path, "old", 3, 0600, NULL), 0);
    assert_int_equal(file_write_atomic("/nonexistent/x", "new", 3, 0600, &e), -1);
    assert_non_null(strstr(e.detail, "writing /nonexistent/x: ")); /* the name that was given */
    snprintf(sub, sizeof sub, "%s/sub", dir);
    assert_int_equal(mkfifo(sub, 0600), 0);
    assert_int_equal(file_write_atomic(sub, "new", 3, 0600, &e), -1); /* nor takes a file the place of what is none */
    assert_int_equal(entries(), 2);
    assert_int_equal(unlink(sub), 0);
    assert_int_equal(symlink("/dev/null", sub), 0);
    assert_int_equal(file_write_atomic(sub, "new", 3, 0600, &e), -1);
    assert_non_null(strstr(e.detail, "no regular file"));
    assert_int_equal(unlink(sub), 0);
    assert_int_equal(mkdir(sub, 0700), 0);
    assert_int_equal(file_write_atomic(sub, "new", 3, 0600, &e), -1); /* a directory stands there */
    assert_int_equal(entries(), 2);
    assert_int_equal(rmdir(sub), 0);
    assert_int_equal(file_read(path, &text, NULL), 0);
    assert_string_equal(buf_str(&text), "old");
}

static void keys_are_known(void **state)
{
    struct err e = {0};
    static const char key[] = "-----BEGIN EC PRIVATE KEY-----\nAAAA\n", cert[] = "-----BEGIN CERTIFICATE-----\nAAAA\n";

    (void)state;
    (void)unlink(path);
    assert_false(file_holds_key(path));
    assert_int_equal(file_yields(path, "", &e), 0);
    assert_int_equal(file_write_atomic(path, cert, sizeof cert - 1, 0600, &e), 0);
    assert_false(file_holds_key(path));
    assert_int_equal(file_write_atomic(path, key, sizeof key - 1, 0600, &e), 0);
    assert_true(file_holds_key(path));
    assert_false(file_holds_key(dir));
    assert_int_equal(file_yields(path, "take another", &e), -1);
    assert_non_null(strstr(e.detail, "private key"));
    assert_non_null(strstr(e.detail, ": take another"));
    assert_true(file_yields(dir, "", &e) == -1 && file_yields("/dev/null", "", &e) == -1);
    assert_non_null(strstr(e.detail, "no regular file"));
}

/* Owner and mode stay; what is not there is not made. */
static void replacing(void **state)
{
    struct err e = {0};
    struct stat st;

    (void)state;
    (void)unlink(path);
    assert_int_equal(file_replace(path, "x", 1, &e), -1);
    assert_int_equal(e.code, ERR_NOT_FOUND);
    assert_int_equal(file_write_atomic(path, "old", 3, 0604, &e), 0);
    if (!geteuid())
        assert_int_equal(chown(path, 4321, 1234), 0);
    assert_int_equal(file_replace(path, "new", 3, &e), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0604);
    assert_int_equal(st.st_uid, geteuid() ? geteuid() : 4321);
    assert_int_equal(st.st_gid, geteuid() ? getegid() : 1234);
    assert_int_equal(entries(), 1);
}

static void directories(void **state)
{
    char sub[80];
    struct stat st;
    struct err e = {0};

    (void)state;
    snprintf(sub, sizeof sub, "%s/sub", dir);
    assert_false(file_exists(sub));
    assert_int_equal(dir_make(sub, 0700, &e), 0);
    assert_int_equal(dir_make(sub, 0700, &e), 0); /* is there already */
    assert_true(file_exists(sub));
    assert_int_equal(stat(sub, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(dir_sync(sub, &e), 0);
    assert_int_equal(rmdir(sub), 0);
    assert_int_equal(dir_sync(sub, &e), -1);
    assert_int_equal(dir_make(path, 0700, &e), -1); /* a file stands there */
    assert_int_equal(dir_make("/nonexistent/a/b", 0700, &e), -1);
}

static void joining(void **state)
{
    char out[16];

    (void)state;
    assert_int_equal(path_join(out, sizeof out, "a", "b"), 0);
    assert_string_equal(out, "a/b");
    assert_int_equal(path_join(out, sizeof out, "a", "/b"), 0);
    assert_string_equal(out, "/b");
    assert_int_equal(path_join(out, sizeof out, "", "b"), 0);
    assert_string_equal(out, "b");
    assert_int_equal(path_join(out, sizeof out, "1234567", "1234567"), 0);
    assert_string_equal(out, "1234567/1234567");
    assert_int_equal(path_join(out, sizeof out, "12345678", "1234567"), -1);
    assert_int_equal(path_join(out, sizeof out, "a", "/23456789012345"), 0);
    assert_int_equal(path_join(out, sizeof out, "a", "/234567890123456"), -1);
}

/* A child holds the lock until it is told to stop. */
static pid_t holder(int ready[2])
{
    pid_t pid = fork();

    if (pid == 0) {
        char c = lock_file(path, 0, NULL) >= 0 ? 'y' : 'n';

        if (write(ready[1], &c, 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    return pid;
}

static void one_holder(void **state)
{
    int ready[2], status, fd;
    char c = 0, expected[32];
    struct err e = {0};
    pid_t pid;
    int64_t start;

    (void)state;
    assert_int_equal(pipe(ready), 0);
    pid = holder(ready);
    assert_int_equal(read(ready[0], &c, 1), 1);
    assert_int_equal(c, 'y');
    start = clock_boot_us();
    assert_int_equal(lock_file(path, 100, &e), -1);
    assert_in_range(clock_boot_us() - start, 80000, 5000000);
    assert_int_equal(e.code, ERR_BUSY);
    snprintf(expected, sizeof expected, "process %d:", (int)pid);
    assert_non_null(strstr(e.detail, expected));
    assert_int_equal(kill(pid, SIGKILL), 0); /* the kernel gives the lock back */
    assert_int_equal(waitpid(pid, &status, 0), pid);
    fd = lock_file(path, 0, &e);
    assert_true(fd >= 0);
    close(fd);
    close(ready[0]);
    close(ready[1]);
    assert_int_equal(lock_file("/nonexistent/lock", 0, &e), -1);
}

static void clocks_and_random(void **state)
{
    uint8_t a[64] = {0}, b[64] = {0};
    int64_t boot = clock_boot_us(), wall_both, boot_both;

    (void)state;
    assert_int_equal(random_bytes(a, sizeof a), 0);
    assert_int_equal(random_bytes(b, sizeof b), 0);
    assert_memory_not_equal(a, b, sizeof a);
    assert_int_equal(random_bytes(NULL, 0), 0);
    assert_true(clock_wall_us() > INT64_C(1700000000000000));
    assert_true(boot > 0 && clock_boot_us() >= boot);
    clock_both_us(&wall_both, &boot_both);
    assert_true(boot_both >= boot && boot_both <= clock_boot_us());
    assert_in_range(clock_wall_us() - wall_both, 0, 5000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(write_and_read), cmocka_unit_test(read_errors), cmocka_unit_test(a_failed_write_leaves_the_old_file),
        cmocka_unit_test(replacing), cmocka_unit_test(keys_are_known), cmocka_unit_test(directories),
        cmocka_unit_test(joining),        cmocka_unit_test(one_holder),  cmocka_unit_test(clocks_and_random),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
