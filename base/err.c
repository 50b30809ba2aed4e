/* Fills struct err from the one table of errors. */
#include "base/err.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

struct row {
    unsigned status;
    const char *slug, *title, *cure;
};

static const struct row rows[ERR_COUNT] = {
    [ERR_NONE] = {200, "ok", "Done", ""},
#define X(code, status, slug, title, cure) [ERR_##code] = {status, slug, title, cure},
    ERR_TABLE(X)
#undef X
};

static const struct row *row_of(enum err_code code)
{
    return (unsigned)code < ERR_COUNT ? &rows[code] : &rows[ERR_INTERNAL];
}

/* Details quote what strangers sent and end in problem documents and logs: make them well-formed UTF-8 without control characters, also where
 * the cut fell into a sequence. */
static void clean(char *text)
{
    size_t left = strlen(text);

    for (uint8_t *p = (uint8_t *)text; left;) {
        size_t n = utf8_sequence(p, left);
        if (n == 0 || utf8_is_control(p, n)) {
            n = n ? n : 1;
            memset(p, '?', n);
        }
        p += n;
        left -= n;
    }
}

/* Adds ": more" to the text, cut to what a detail holds. */
static void append(char text[static ERR_DETAIL_MAX], const char *more)
{
    const char *parts[] = {": ", more};
    size_t len = strlen(text);

    for (size_t i = 0; i < 2; i++) {
        size_t n = strnlen(parts[i], ERR_DETAIL_MAX - 1 - len);
        memcpy(text + len, parts[i], n);
        len += n;
    }
    text[len] = '\0';
}

static void fill(struct err *e, enum err_code code, const char text[static ERR_DETAIL_MAX])
{
    e->code = code;
    memcpy(e->detail, text, strlen(text) + 1);
    clean(e->detail);
}

/* The text is built aside first, since an argument may be e->detail itself. */
int err_set(struct err *e, enum err_code code, const char *fmt, ...)
{
    char text[ERR_DETAIL_MAX];
    va_list ap;

    if (!e)
        return -1;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    fill(e, code, text);
    return -1;
}

int err_errno(struct err *e, enum err_code code, int errnum, const char *fmt, ...)
{
    char text[ERR_DETAIL_MAX], name[128];
    va_list ap;

    if (!e)
        return -1;
    const char *why = strerror_r(errnum, name, sizeof name);
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    append(text, why);
    fill(e, code, text);
    return -1;
}

int err_context(struct err *e, const char *fmt, ...)
{
    char text[ERR_DETAIL_MAX];
    va_list ap;

    if (!e)
        return -1;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    append(text, e->detail);
    fill(e, e->code, text);
    return -1;
}

unsigned err_status(enum err_code code)
{
    return row_of(code)->status;
}

const char *err_slug(enum err_code code)
{
    return row_of(code)->slug;
}

const char *err_title(enum err_code code)
{
    return row_of(code)->title;
}

const char *err_cure(enum err_code code)
{
    return row_of(code)->cure;
}
