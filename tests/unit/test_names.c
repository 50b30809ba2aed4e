/* Tests of policy/names.c. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "policy/names.h"

/* The longest text of an alphabet fits; one byte more does not. */
static void bounded(int (*check)(const char *text, const char *what, struct err *e), size_t max)
{
    char text[ARTIFACT_MAX_LEN + 2];
    struct err e = {0};

    memset(text, 'a', sizeof text);
    text[max] = '\0';
    assert_int_equal(check(text, "name", &e), 0);
    text[max] = 'a';
    text[max + 1] = '\0';
    assert_int_equal(check(text, "name", &e), -1);
    assert_int_equal(e.code, ERR_BAD_NAME);
}

static void lengths(void **state)
{
    (void)state;
    bounded(name_check, NAME_MAX_LEN);
    bounded(app_check, APP_MAX_LEN);
    bounded(artifact_check, ARTIFACT_MAX_LEN);
    bounded(glob_check, APP_MAX_LEN);
}

static void alphabets(void **state)
{
    static const struct {
        const char *text;
        bool name, app, artifact, glob;
    } rows[] = {
        {"release", true, true, true, true},
        {"0", true, true, true, true},
        {"a.b_c-d", true, true, true, true},
        {"com.Example.App", false, true, true, true},
        {"app+1.zip", false, false, true, false},
        {"com.example.*", false, false, false, true},
        {"*", false, false, false, true},
        {"", false, false, false, false},
        {".hidden", false, false, false, false},
        {"-flag", false, false, false, false},
        {"_x", false, false, false, false},
        {"+x", false, false, false, false},
        {"a b", false, false, false, false},
        {"a/b", false, false, false, false},
        {"a\nb", false, false, false, false},
        {"a?b", false, false, false, false},
        {"\xc3\xa9t\xc3\xa9", false, false, false, false},
        {"a\xc3\xa9", false, false, false, false},
    };

    (void)state;
    for (size_t n = 0; n < sizeof rows / sizeof *rows; n++) {
        struct err e = {0};

        assert_int_equal(name_check(rows[n].text, "x", &e), rows[n].name ? 0 : -1);
        assert_int_equal(app_check(rows[n].text, "x", &e), rows[n].app ? 0 : -1);
        assert_int_equal(artifact_check(rows[n].text, "x", &e), rows[n].artifact ? 0 : -1);
        assert_int_equal(glob_check(rows[n].text, "x", &e), rows[n].glob ? 0 : -1);
    }
}

static void message(void **state)
{
    struct err e = {0};

    (void)state;
    assert_int_equal(name_check("Release", "key", &e), -1);
    assert_non_null(strstr(e.detail, "key \"Release\""));
    assert_non_null(strstr(e.detail, "[a-z0-9][a-z0-9._-]{0,63}"));
}

static void globs(void **state)
{
    static const struct {
        const char *pattern, *text;
        bool match;
    } rows[] = {
        {"abc", "abc", true}, {"abc", "abcd", false}, {"abcd", "abc", false}, {"abc", "aBc", false},
        {"*", "", true}, {"*", "anything", true}, {"**", "x", true}, {"", "", true}, {"", "x", false},
        {"com.example.*", "com.example.app", true}, {"com.example.*", "com.example.", true}, {"com.example.*", "com.example", false},
        {"com.example.*", "com.examples.app", false}, {"com.example.*", "xcom.example.app", false}, {"com.example.*", "comXexampleXapp", false},
        {"*.app", "com.app", true}, {"*.app", "com.apps", false}, {"a*c", "ac", true}, {"a*c", "abcbc", true}, {"a*c", "abcb", false},
        {"a*b*c", "axxbxxc", true}, {"a*b*c", "axxcxxb", false}, {"*aab", "aaab", true}, {"a*", "b", false},
    };

    (void)state;
    for (size_t n = 0; n < sizeof rows / sizeof *rows; n++)
        if (glob_match(rows[n].pattern, rows[n].text) != rows[n].match)
            fail_msg("%s against %s is not %d", rows[n].pattern, rows[n].text, rows[n].match);
}

/* An exponential matcher would not come back from this. */
static void many_stars(void **state)
{
    char pattern[APP_MAX_LEN + 1], text[4096];

    (void)state;
    for (size_t n = 0; n < APP_MAX_LEN; n++)
        pattern[n] = n % 2 ? '*' : 'a';
    pattern[APP_MAX_LEN - 1] = 'b';
    pattern[APP_MAX_LEN] = '\0';
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    assert_false(glob_match(pattern, text));
    text[sizeof text - 2] = 'b';
    assert_true(glob_match(pattern, text));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lengths), cmocka_unit_test(alphabets), cmocka_unit_test(message), cmocka_unit_test(globs), cmocka_unit_test(many_stars),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
