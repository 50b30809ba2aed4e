/* Semantic Versioning 2.0.0: form and precedence. */
#include "policy/version.h"

#include <stdbool.h>
#include <string.h>

#define DIGITS "0123456789"
#define IDENT DIGITS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-"

static bool numeric(const char *text, size_t n)
{
    return n && strspn(text, DIGITS) >= n;
}

/* A dotted list of identifiers up to one of `stop`; NULL where one is empty, foreign, or a number with a leading zero that must have none. */
static const char *identifiers(const char *at, const char *stop, bool no_leading_zero)
{
    for (;;) {
        size_t n = strspn(at, IDENT);

        if (!n || (no_leading_zero && n > 1 && *at == '0' && numeric(at, n)))
            return NULL;
        at += n;
        if (*at != '.')
            return !*at || strchr(stop, *at) ? at : NULL;
        at++;
    }
}

static const char *core(const char *at)
{
    for (unsigned part = 0; part < 3; part++) {
        size_t n = strspn(at, DIGITS);

        if (!n || (n > 1 && *at == '0'))
            return NULL;
        at += n;
        if (part < 2 && *at++ != '.')
            return NULL;
    }
    return at;
}

int version_check(const char *text, struct err *e)
{
    size_t n = strlen(text);
    const char *at;

    if (!n || n > VERSION_MAX)
        return err_set(e, ERR_BAD_VERSION, "a version has 1 to %d bytes, this one has %zu", VERSION_MAX, n);
    at = core(text);
    if (!at)
        return err_set(e, ERR_BAD_VERSION, "\"%.64s\" does not begin with MAJOR.MINOR.PATCH, numbers without leading zeros", text);
    if (*at == '-' && !(at = identifiers(at + 1, "+", true)))
        return err_set(e, ERR_BAD_VERSION, "\"%.64s\" has an unusable pre-release part", text);
    if (*at == '+' && !(at = identifiers(at + 1, "", false)))
        return err_set(e, ERR_BAD_VERSION, "\"%.64s\" has an unusable build part", text);
    return *at ? err_set(e, ERR_BAD_VERSION, "\"%.64s\" goes on after the version", text) : 0;
}

/* Numbers of any length without leading zeros: the longer one is larger. */
static int compare_numbers(const char *a, size_t na, const char *b, size_t nb)
{
    if (na != nb)
        return na < nb ? -1 : 1;
    return memcmp(a, b, na);
}

static int compare_identifiers(const char *a, size_t na, const char *b, size_t nb)
{
    bool a_num = numeric(a, na), b_num = numeric(b, nb);
    int order;

    if (a_num && b_num)
        return compare_numbers(a, na, b, nb);
    if (a_num != b_num)
        return a_num ? -1 : 1;
    order = memcmp(a, b, na < nb ? na : nb);
    return order ? order : na < nb ? -1 : na > nb;
}

static int compare_prerelease(const char *a, const char *b)
{
    while (*a == '.' || *a == '-' ? *b == '.' || *b == '-' : false) {
        size_t na = strspn(++a, IDENT), nb = strspn(++b, IDENT);
        int order = compare_identifiers(a, na, b, nb);

        if (order)
            return order;
        a += na;
        b += nb;
    }
    return *a == '.' ? 1 : *b == '.' ? -1 : 0;
}

int version_compare(const char *a, const char *b)
{
    for (unsigned part = 0; part < 3; part++) {
        size_t na = strspn(a, DIGITS), nb = strspn(b, DIGITS);
        int order = compare_numbers(a, na, b, nb);

        if (order)
            return order;
        a += na + (part < 2);
        b += nb + (part < 2);
    }
    if ((*a == '-') != (*b == '-'))
        return *a == '-' ? -1 : 1;
    return *a == '-' ? compare_prerelease(a, b) : 0;
}
