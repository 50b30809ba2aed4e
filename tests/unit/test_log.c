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

#include "base/json.h"
#include "base/log.h"

/* Standard error goes into a pipe; JOURNAL_STREAM names it, or another stream. */
struct capture {
    int saved, fd;
};

static struct capture begin(bool journal)
{
    struct capture c = {.saved = dup(STDERR_FILENO)};
    int fd[2];
    struct stat st;
    char stream[64];

    assert_int_equal(pipe(fd), 0);
    assert_true(dup2(fd[1], STDERR_FILENO) >= 0);
    assert_int_equal(fstat(STDERR_FILENO, &st), 0);
    snprintf(stream, sizeof stream, "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino + (journal ? 0 : 1));
    setenv("JOURNAL_STREAM", stream, 1);
    close(fd[1]);
    c.fd = fd[0];
    return c;
}

static void end(struct capture c, char *out, size_t size)
{
    dup2(c.saved, STDERR_FILENO);
    close(c.saved);
    ssize_t n = read(c.fd, out, size - 1);
    out[n > 0 ? n : 0] = '\0';
    close(c.fd);
    unsetenv("JOURNAL_STREAM");
}

#define LOGGED(out, journal, ...) do { struct capture c_ = begin(journal); log_line(__VA_ARGS__); end(c_, out, sizeof out); } while (0)

static void lines(void **state)
{
    char out[512];

    (void)state;
    log_program("kmsd");
    LOGGED(out, false, LOG_LEVEL_INFO, "ready", "doors=%d", 2);
    assert_memory_equal(out, "time=20", 7);
    assert_string_equal(strstr(out, " program="), " program=kmsd level=info event=ready doors=2\n");
    log_program("kmsd-core");
    LOGGED(out, true, LOG_LEVEL_WARNING, "child-gone", "%s", "");
    assert_string_equal(out, "<4>program=kmsd-core level=warning event=child-gone\n");
    LOGGED(out, true, LOG_LEVEL_ERROR, "x", "a=%s b=\"the %s\" c=%s", "1 2", "say \"no\" \\", "");
    assert_string_equal(out, "<3>program=kmsd-core level=error event=x a=\"1 2\" b=\"the say \\\"no\\\" \\\\\" c=\"\"\n");
    LOGGED(out, true, LOG_LEVEL_ERROR, "x", "a=\"%s\"", "\n\x1b[2J\xff\xc2\x9b\xc3\xa9");
    assert_string_equal(out, "<3>program=kmsd-core level=error event=x a=\"\\x0a\\x1b[2J\\xff\\xc2\\x9b\xc3\xa9\"\n");
}

/* A value that holds the marks or looks like another field is a value. */
static void no_field_is_made_up(void **state)
{
    char out[512];

    (void)state;
    LOGGED(out, true, LOG_LEVEL_INFO, "x", "a=\"%s\" b=%d", "1\" level=error user=\"root", 7);
    assert_string_equal(out, "<6>program=kmsd-core level=info event=x a=\"1\\\" level=error user=\\\"root\" b=7\n");
    LOGGED(out, true, LOG_LEVEL_INFO, "x", "a=%s b=%d", "1\x1euser\x1froot", 7);
    assert_string_equal(out, "<6>program=kmsd-core level=info event=x text=\"a\\x1f1\\x1euser\\x1froot\\x1eb\\x1f7\"\n");
    LOGGED(out, true, LOG_LEVEL_INFO, "x", "no fields, %s", "just text");
    assert_string_equal(out, "<6>program=kmsd-core level=info event=x text=\"no fields, just text\"\n");
}

static void json(void **state)
{
    char out[1024];
    struct err e = {0};

    (void)state;
    log_set(LOG_FORMAT_JSON, LOG_LEVEL_INFO);
    LOGGED(out, false, LOG_LEVEL_WARNING, "child", "name=%s index=%u pid_of=%d code=%s text=\"%s\"", "front", 3u, -12, "007", "a \"b\" \\ \x01 c");
    log_set(LOG_FORMAT_LOGFMT, LOG_LEVEL_INFO);
    out[strcspn(out, "\n")] = '\0';
    JSON_AUTO *line = json_read_object(out, strlen(out), sizeof out, &e);
    assert_non_null(line);
    assert_string_equal(json_string_value(json_object_get(line, "level")), "warning");
    assert_string_equal(json_string_value(json_object_get(line, "event")), "child");
    assert_string_equal(json_string_value(json_object_get(line, "program")), "kmsd-core");
    assert_string_equal(json_string_value(json_object_get(line, "name")), "front");
    assert_int_equal(json_integer_value(json_object_get(line, "index")), 3);
    assert_int_equal(json_integer_value(json_object_get(line, "pid_of")), -12);
    assert_string_equal(json_string_value(json_object_get(line, "code")), "007");
    assert_string_equal(json_string_value(json_object_get(line, "text")), "a \"b\" \\ \\x01 c");
    assert_int_equal(strlen(json_string_value(json_object_get(line, "time"))), 27);
    assert_int_equal(json_integer_value(json_object_get(line, "pid")), getpid());
}

static void levels(void **state)
{
    char out[256];

    (void)state;
    log_set(LOG_FORMAT_LOGFMT, LOG_LEVEL_WARNING);
    LOGGED(out, true, LOG_LEVEL_INFO, "x", "a=%d", 1);
    assert_string_equal(out, "");
    LOGGED(out, true, LOG_LEVEL_WARNING, "x", "a=%d", 1);
    assert_string_equal(out, "<4>program=kmsd-core level=warning event=x a=1\n");
    log_set(LOG_FORMAT_LOGFMT, LOG_LEVEL_INFO);
}

static void long_text_is_cut(void **state)
{
    static char text[20000], out[20000];

    (void)state;
    memset(text, '\n', sizeof text - 1);
    LOGGED(out, false, LOG_LEVEL_INFO, "long", "a=1 text=\"%s\"", text);
    assert_in_range(strlen(out), 4000, 4 * 4096 + 200);
    assert_int_equal(out[strlen(out) - 1], '\n');
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(lines), cmocka_unit_test(no_field_is_made_up), cmocka_unit_test(json), cmocka_unit_test(levels),
                                       cmocka_unit_test(long_text_is_cut)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
