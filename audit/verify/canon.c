/* Writes a parsed value again in the one form that RFC 8785 allows, so that a line can be compared with it. */
#include "audit/verify/canon.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"

#define MEMBERS_MAX 256

/* RFC 8785 section 3.2.2.2: the two-character escapes, then lower-case \u00xx, and nothing else. */
static void escape(struct buf *out, uint8_t c)
{
    static const char shorts[] = {['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'};

    buf_putc(out, '\\');
    if (c == '"' || c == '\\')
        buf_putc(out, c);
    else if (c < sizeof shorts && shorts[c])
        buf_putc(out, (uint8_t)shorts[c]);
    else
        buf_printf(out, "u%04x", c);
}

void canon_string(struct buf *out, const char *text, size_t len)
{
    size_t start = 0;

    buf_putc(out, '"');
    for (size_t i = 0; i < len; i++) {
        uint8_t c = (uint8_t)text[i];

        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        buf_put(out, text + start, i - start);
        escape(out, c);
        start = i + 1;
    }
    buf_put(out, text + start, len - start);
    buf_putc(out, '"');
}

void canon_count(struct buf *out, uint64_t n)
{
    char digits[20], *first = digits + sizeof digits;

    do
        *--first = (char)('0' + n % 10);
    while (n /= 10);
    buf_put(out, first, (size_t)(digits + sizeof digits - first));
}

static bool name_fits(const char *name)
{
    return *name && !name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_")];
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Names are ASCII here, so their order by UTF-16 code units is that of their bytes. */
static void put_object(struct buf *out, const json_t *object)
{
    json_t *walked = (json_t *)(uintptr_t)object; /* jansson's iterators take no const */
    const char *names[MEMBERS_MAX];
    size_t n = 0;

    if (json_object_size(object) > MEMBERS_MAX) {
        out->failed = true;
        return;
    }
    for (void *at = json_object_iter(walked); at; at = json_object_iter_next(walked, at)) {
        names[n] = json_object_iter_key(at);
        out->failed |= !name_fits(names[n++]);
    }
    if (n > 1)
        qsort(names, n, sizeof *names, by_name);
    buf_putc(out, '{');
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_putc(out, ',');
        canon_string(out, names[i], strlen(names[i]));
        buf_putc(out, ':');
        canon_value(out, json_object_get(object, names[i]));
    }
    buf_putc(out, '}');
}

static void put_array(struct buf *out, const json_t *array)
{
    buf_putc(out, '[');
    for (size_t i = 0; i < json_array_size(array); i++) {
        if (i)
            buf_putc(out, ',');
        canon_value(out, json_array_get(array, i));
    }
    buf_putc(out, ']');
}

static void put_integer(struct buf *out, json_int_t n)
{
    if (n > JSON_INT_MAX || n < -JSON_INT_MAX)
        out->failed = true;
    buf_printf(out, "%" PRId64, (int64_t)n);
}

void canon_value(struct buf *out, const json_t *value)
{
    if (json_is_object(value))
        put_object(out, value);
    else if (json_is_array(value))
        put_array(out, value);
    else if (json_is_string(value))
        canon_string(out, json_string_value(value), json_string_length(value));
    else if (json_is_integer(value))
        put_integer(out, json_integer_value(value));
    else if (json_is_boolean(value))
        buf_puts(out, json_is_true(value) ? "true" : "false");
    else if (json_is_null(value))
        buf_puts(out, "null");
    else
        out->failed = true;
}

bool canon_same(struct buf *scratch, const json_t *value, struct span line)
{
    buf_clear(scratch);
    canon_value(scratch, value);
    return !buf_ok(scratch) && span_eq(buf_span(scratch), line);
}
