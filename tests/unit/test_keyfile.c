/* Tests of kmsd/supervisor/keyfile.c. */
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

#include "base/fsutil.h"
#include "base/x509.h"
#include "kmsd/supervisor/instance.h"

static char dir[] = "/tmp/test_keyfile.XXXXXX";
static char key[64], csr[64], other[64];

static int setup(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    snprintf(key, sizeof key, "%s/key", dir);
    snprintf(csr, sizeof csr, "%s/csr", dir);
    snprintf(other, sizeof other, "%s/other", dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    (void)unlink(key);
    (void)unlink(csr);
    (void)unlink(other);
    return rmdir(dir);
}

static void is_private(const char *path)
{
    struct stat st;

    assert_int_equal(lstat(path, &st), 0);
    assert_true(S_ISREG(st.st_mode));
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_true(file_holds_key(path));
}

static void makes_both(void **state)
{
    BUF_AUTO pem = BUF_INIT(8192), der = BUF_INIT(8192);
    struct err e = {0};

    (void)state;
    assert_int_equal(keyfile_make(key, csr, &e), 0);
    is_private(key);
    assert_int_equal(file_read(csr, &pem, &e), 0);
    assert_int_equal(pem_to_der(buf_span(&pem), "CERTIFICATE REQUEST", &der, &e), 0);
    assert_int_equal(csr_check(buf_span(&der), NULL, &e), 0);
}

/* What lies there already, readable for all or under another name too, does not receive the key. */
static void another_file_in_its_place(void **state)
{
    BUF_AUTO text = BUF_INIT(8192);
    struct err e = {0};

    (void)state;
    for (int is_link = 0; is_link < 3; is_link++) {
        (void)unlink(key);
        (void)unlink(other);
        assert_int_equal(file_write_atomic(other, "other", 5, 0666, &e), 0);
        assert_int_equal(is_link == 0 ? rename(other, key) : is_link == 1 ? link(other, key) : symlink(other, key), 0);
        assert_int_equal(keyfile_make(key, csr, &e), 0);
        is_private(key);
        if (!is_link)
            continue;
        buf_clear(&text);
        assert_int_equal(file_read(other, &text, &e), 0);
        assert_string_equal(buf_str(&text), "other");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(makes_both), cmocka_unit_test(another_file_in_its_place)};

    return cmocka_run_group_tests(tests, setup, teardown);
}
