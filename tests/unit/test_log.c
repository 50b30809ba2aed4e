/* Tests of base/log.c. */
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

#include "base/log.h"

/* Runs log_line with standard error in a pipe and returns what came out. */
static void capture(char *out, size_t size, int journal, enum log_level level, const char *event, const char *text)
{
    int fd[2], saved = dup(STDERR_FILENO);
    struct stat st;
    char stream[64];

    assert_int_equal(pipe(fd), 0);
    assert_true(dup2(fd[1], STDERR_FILENO) >= 0);
    assert_int_equal(fstat(STDERR_FILENO, &st), 0);
    snprintf(stream, sizeof stream, "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino + (journal ? 0 : 1));
    setenv("JOURNAL_STREAM", stream, 1);
    log_line(level, event, "%s", text);
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(fd[1]);
    ssize_t n = read(fd[0], out, size - 1);
    out[n > 0 ? n : 0] = '\0';
    close(fd[0]);
    unsetenv("JOURNAL_STREAM");
}

static void lines(void **state)
{
    char out[256];

    (void)state;
    capture(out, sizeof out, 0, LOG_LEVEL_INFO, "ready", "doors=2");
    assert_string_equal(out, "program=kmsd level=info event=ready doors=2\n");
    log_program("kmsd-core");
    capture(out, sizeof out, 1, LOG_LEVEL_WARNING, "child-gone", "");
    assert_string_equal(out, "<4>program=kmsd-core level=warning event=child-gone\n");
    capture(out, sizeof out, 1, LOG_LEVEL_ERROR, "x", "a=\n\x1b[2J\xff\xc2\x9b\xc3\xa9");
    assert_string_equal(out, "<3>program=kmsd-core level=error event=x a=\\x0a\\x1b[2J\\xff\\xc2\\x9b\xc3\xa9\n");
}

static void long_text_is_cut(void **state)
{
    static char text[20000], out[20000];

    (void)state;
    memset(text, '\n', sizeof text - 1);
    capture(out, sizeof out, 0, LOG_LEVEL_INFO, "long", text);
    assert_in_range(strlen(out), 4000, 4 * 4096 + 100);
    assert_int_equal(out[strlen(out) - 1], '\n');
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(lines), cmocka_unit_test(long_text_is_cut)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
