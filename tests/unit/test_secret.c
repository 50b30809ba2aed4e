/* Tests of base/secret.c. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <ctype.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fsutil.h"
#include "base/secret.h"

static char dir[] = "/tmp/test_secret.XXXXXX";
static char path[64], link_path[64];

static int setup(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof path, "%s/pin", dir);
    snprintf(link_path, sizeof link_path, "%s/link", dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    (void)unlink(path);
    (void)unlink(link_path);
    return rmdir(dir);
}

static void put_file(const void *data, size_t len, mode_t mode)
{
    assert_int_equal(file_write_atomic(path, data, len, mode, NULL), 0);
}

static void replaced_and_freed(void **state)
{
    SECRET_AUTO s = {0};

    (void)state;
    assert_int_equal(secret_random_text(&s, 20, NULL), 0);
    assert_int_equal(secret_random_text(&s, 5, NULL), 0);
    assert_int_equal(s.len, 5);
    assert_int_equal(strlen((char *)s.data), 5);
    secret_free(&s);
    assert_null(s.data);
    assert_int_equal(s.len, 0);
    secret_free(&s);
}

/* VmFlags of the page: lo = locked, dd = not in core dumps. */
static void page_is_locked_and_not_dumped(void **state)
{
    SECRET_AUTO s = {0};
    FILE *f = fopen("/proc/self/smaps", "r");
    char line[512], start[32];
    int inside = 0, seen = 0;

    (void)state;
    assert_non_null(f);
    assert_int_equal(secret_random_text(&s, 3, NULL), 0);
    snprintf(start, sizeof start, "%lx-", (unsigned long)(uintptr_t)s.data);
    while (fgets(line, sizeof line, f)) {
        if (strstr(line, "-") && !strncmp(line, start, strlen(start)))
            inside = 1;
        if (inside && !strncmp(line, "VmFlags:", 8)) {
#ifdef __SANITIZE_ADDRESS__ /* it turns mlock off */
            seen = strstr(line, " dd") != NULL;
#else
            seen = strstr(line, " lo") && strstr(line, " dd");
#endif
            break;
        }
    }
    fclose(f);
    assert_true(seen);
}

static void reads_one_line(void **state)
{
    static const struct {
        const char *text;
        size_t len;
        const char *secret;
    } rows[] = {{"1234\n", 5, "1234"}, {"1234", 4, "1234"}, {"12 34\n", 6, "12 34"}, {"", 0, NULL}, {"\n", 1, NULL}, {"a\nb\n", 4, NULL},
        {"a\n\n", 3, NULL}, {"a\0b\n", 4, NULL}};

    (void)state;
    for (size_t n = 0; n < sizeof rows / sizeof *rows; n++) {
        SECRET_AUTO s = {0};
        struct err e = {0};

        put_file(rows[n].text, rows[n].len, 0600);
        assert_int_equal(secret_read_file(&s, path, &e), rows[n].secret ? 0 : -1);
        if (rows[n].secret)
            assert_string_equal((char *)s.data, rows[n].secret);
        else
            assert_null(s.data);
    }
}

static void length_is_bounded(void **state)
{
    char text[SECRET_MAX + 2];
    SECRET_AUTO s = {0};

    (void)state;
    memset(text, 'x', sizeof text);
    text[SECRET_MAX - 1] = '\n';
    put_file(text, SECRET_MAX, 0600);
    assert_int_equal(secret_read_file(&s, path, NULL), 0);
    assert_int_equal(s.len, SECRET_MAX - 1);
    text[SECRET_MAX - 1] = 'x';
    text[SECRET_MAX] = '\n';
    put_file(text, SECRET_MAX + 1, 0600);
    assert_int_equal(secret_read_file(&s, path, NULL), -1);
    put_file(text, SECRET_MAX, 0600);
    assert_int_equal(secret_read_file(&s, path, NULL), -1);
}

static void refuses_unsafe_files(void **state)
{
    static const mode_t lax[] = {0640, 0604, 0620, 0601, 0660, 0666, 0610};
    SECRET_AUTO s = {0};
    struct err e = {0};

    (void)state;
    for (size_t n = 0; n < sizeof lax / sizeof *lax; n++) {
        put_file("1234\n", 5, lax[n]);
        assert_int_equal(secret_read_file(&s, path, &e), -1);
        assert_non_null(strstr(e.detail, "chmod 0600"));
        assert_null(strstr(e.detail, "1234"));
    }
    put_file("1234\n", 5, 0400);
    assert_int_equal(secret_read_file(&s, path, &e), 0);
    assert_int_equal(symlink(path, link_path), 0);
    assert_int_equal(secret_read_file(&s, link_path, &e), -1);
    assert_non_null(strstr(e.detail, "symbolic link"));
    assert_int_equal(secret_read_file(&s, dir, &e), -1);
    assert_int_equal(secret_read_file(&s, "/nonexistent/pin", &e), -1);
    if (geteuid() == 0) { /* only root can make another's file */
        assert_int_equal(chown(path, 12345, 12345), 0);
        assert_int_equal(secret_read_file(&s, path, &e), -1);
        assert_non_null(strstr(e.detail, "another user"));
    }
}

static void reads_credentials(void **state)
{
    static const struct {
        const char *name;
        mode_t mode;
        bool good;
    } rows[] = {
        {"pin", 0400, true}, {"pin", 0440, true}, {"pin", 0600, true}, {"pin", 0444, false}, {"pin", 0460, false}, {"pin", 0604, false},
        {"absent", 0400, false}, {"../pin", 0400, false}, {"", 0400, false}, {".", 0400, false},
    };
    SECRET_AUTO s = {0};
    struct err e = {0};

    (void)state;
    assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);
    assert_int_equal(secret_read_credential(&s, "pin", &e), -1);
    assert_non_null(strstr(e.detail, "LoadCredential=pin:"));
    assert_int_equal(setenv("CREDENTIALS_DIRECTORY", dir, 1), 0);
    for (size_t n = 0; n < sizeof rows / sizeof *rows; n++) {
        put_file("1234\n", 5, rows[n].mode);
        assert_int_equal(secret_read_credential(&s, rows[n].name, &e), rows[n].good ? 0 : -1);
        if (rows[n].good)
            assert_string_equal((char *)s.data, "1234");
        secret_free(&s);
    }
    assert_int_equal(setenv("CREDENTIALS_DIRECTORY", "relative", 1), 0);
    assert_int_equal(secret_read_credential(&s, "pin", &e), -1);
}

static void random_text(void **state)
{
    SECRET_AUTO a = {0}, b = {0};
    bool seen[256] = {false};
    unsigned kinds = 0;

    (void)state;
    for (int n = 0; n < 50; n++) {
        assert_int_equal(secret_random_text(&a, 200, NULL), 0);
        assert_int_equal(strlen((char *)a.data), 200);
        for (size_t i = 0; i < a.len; i++) {
            assert_true(isalnum(a.data[i]));
            kinds += !seen[a.data[i]];
            seen[a.data[i]] = true;
        }
    }
    assert_int_equal(kinds, 62);
    assert_int_equal(secret_random_text(&b, 200, NULL), 0);
    assert_string_not_equal((char *)a.data, (char *)b.data);
    assert_int_equal(secret_random_text(&b, 0, NULL), -1);
    assert_int_equal(secret_random_text(&b, SECRET_MAX, NULL), -1);
}

/* In children: these change the whole process. */
static void hardening(void **state)
{
    int status;
    pid_t pid = fork();

    (void)state;
    if (pid == 0) {
        struct rlimit core;

        process_harden();
        _exit(getrlimit(RLIMIT_CORE, &core) == 0 && core.rlim_cur == 0 && core.rlim_max == 0 && prctl(PR_GET_DUMPABLE) == 0 ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void ties_to_the_parent(void **state)
{
    int status;
    pid_t parent = getpid(), pid = fork();

    (void)state;
    if (pid == 0) {
        int deathsig = 0;

        process_tie_to_parent(0);
        process_tie_to_parent(parent);
        if (prctl(PR_GET_PDEATHSIG, &deathsig) || deathsig != SIGKILL)
            _exit(1);
        process_tie_to_parent(parent + 1); /* another than expected: exits at once */
        _exit(2);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replaced_and_freed),
        cmocka_unit_test(page_is_locked_and_not_dumped),
        cmocka_unit_test(reads_one_line),
        cmocka_unit_test(length_is_bounded),
        cmocka_unit_test(refuses_unsafe_files),
        cmocka_unit_test(reads_credentials),
        cmocka_unit_test(random_text),
        cmocka_unit_test(hardening),
        cmocka_unit_test(ties_to_the_parent),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
