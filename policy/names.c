/* Alphabets of names, and globs. */
#include "policy/names.h"

#include <string.h>

#define LOWER "abcdefghijklmnopqrstuvwxyz0123456789"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

static int check(const char *text, const char *what, const char *first, const char *rest, size_t max, const char *shape, struct err *e)
{
    size_t n = strlen(text);

    if (n && n <= max && strchr(first, text[0]) && strspn(text, rest) == n)
        return 0;
    return err_set(e, ERR_BAD_NAME, "%s \"%.64s\" does not match %s", what, text, shape);
}

int name_check(const char *text, const char *what, struct err *e)
{
    return check(text, what, LOWER, LOWER "._-", NAME_MAX_LEN, "[a-z0-9][a-z0-9._-]{0,63}", e);
}

int app_check(const char *text, const char *what, struct err *e)
{
    return check(text, what, LOWER UPPER, LOWER UPPER "._-", APP_MAX_LEN, "[A-Za-z0-9][A-Za-z0-9._-]{0,127}", e);
}

int artifact_check(const char *text, const char *what, struct err *e)
{
    return check(text, what, LOWER UPPER, LOWER UPPER "._+-", ARTIFACT_MAX_LEN, "[A-Za-z0-9][A-Za-z0-9._+-]{0,254}", e);
}

int glob_check(const char *pattern, const char *what, struct err *e)
{
    return check(pattern, what, LOWER UPPER "*", LOWER UPPER "._-*", APP_MAX_LEN, "[A-Za-z0-9*][A-Za-z0-9._*-]{0,127}", e);
}

/* On a mismatch only the last star is tried again, one character further: linear in practice, quadratic at worst, never exponential. */
bool glob_match(const char *pattern, const char *text)
{
    const char *star = NULL, *from = NULL;

    while (*text) {
        if (*pattern == '*') {
            star = ++pattern;
            from = text;
        } else if (*pattern == *text) {
            pattern++;
            text++;
        } else if (star) {
            pattern = star;
            text = ++from;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return !*pattern;
}
