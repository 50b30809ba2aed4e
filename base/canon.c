/* Writes a JSON value in the canonical form of RFC 8785. */
#include "base/json.h"
#include "base/num.h"
#include "base/plain.h"

#include <stdlib.h>
#include <string.h>

#define FEW 48 /* members sorted without asking for memory */

struct member {
    const char *name;
    const json_t *value;
};

static void write_value(struct buf *out, const json_t *value, int depth);

/* RFC 8785 section 3.2.3 orders names by UTF-16 code units. In UTF-8 that is the order of bytes, except that what needs surrogates (lead byte
 * F0 and up) comes before U+E000 to U+FFFF (EE, EF). */
static int utf16_rank(unsigned char c)
{
    return c == 0xee || c == 0xef ? c + 0x10 : c;
}

static int member_cmp(const void *a, const void *b)
{
    const struct member *m = a, *n = b;
    const char *x = m->name, *y = n->name;

    while (*x && *x == *y) {
        x++;
        y++;
    }
    return utf16_rank((unsigned char)*x) - utf16_rank((unsigned char)*y);
}

static void write_escape(struct buf *out, unsigned char c)
{
    static const char shorts[32] = {['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'};

    if (c >= sizeof shorts)
        buf_put(out, (uint8_t[]){'\\', c}, 2);
    else if (shorts[c])
        buf_put(out, (uint8_t[]){'\\', (uint8_t)shorts[c]}, 2);
    else
        buf_printf(out, "\\u%04x", (unsigned)c);
}

/* Text that needs no escape: one look at the room for it, quotes included. */
static void write_plain(struct buf *out, const char *s, size_t len)
{
    uint8_t *to = len < SIZE_MAX - 2 ? buf_room(out, len + 2) : NULL;

    if (!to) {
        out->failed = true;
        return;
    }
    to[0] = '"';
    memcpy(to + 1, s, len);
    to[len + 1] = '"';
    out->len += len + 2;
}

/* Strings made without jansson's own check could hold anything: only UTF-8 without NUL is written. */
static void write_string(struct buf *out, const char *s, size_t len)
{
    size_t from = 0;

    if (plain_run(s, len) == len) {
        write_plain(out, s, len);
        return;
    }
    if (utf8_check(s, len)) {
        out->failed = true;
        return;
    }
    buf_putc(out, '"');
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        buf_put(out, s + from, i - from);
        write_escape(out, c);
        from = i + 1;
    }
    buf_put(out, s + from, len - from);
    buf_putc(out, '"');
}

static void write_integer(struct buf *out, int64_t n)
{
    if (n > JSON_INT_MAX || n < -JSON_INT_MAX) {
        out->failed = true;
        return;
    }
    if (n < 0)
        buf_putc(out, '-');
    buf_decimal(out, (uint64_t)(n < 0 ? -n : n));
}

/* Most objects have few members, and each record is written anew: no call of a comparison through a pointer. */
static void sort_members(struct member *list, size_t n)
{
    for (size_t i = 1; n <= FEW && i < n; i++) {
        struct member m = list[i];
        size_t at = i;

        for (; at > 0 && member_cmp(&m, &list[at - 1]) < 0; at--)
            list[at] = list[at - 1];
        list[at] = m;
    }
    if (n > FEW)
        qsort(list, n, sizeof *list, member_cmp);
}

static void write_members(struct buf *out, const json_t *object, struct member *members, int depth)
{
    /* jansson's iterators take a non-const object only because they can also replace values. */
    json_t *j = (json_t *)(uintptr_t)object;
    size_t n = 0;

    for (void *it = json_object_iter(j); it; it = json_object_iter_next(j, it))
        members[n++] = (struct member){json_object_iter_key(it), json_object_iter_value(it)};
    sort_members(members, n);
    buf_putc(out, '{');
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_putc(out, ',');
        write_string(out, members[i].name, strlen(members[i].name));
        buf_putc(out, ':');
        write_value(out, members[i].value, depth);
    }
    buf_putc(out, '}');
}

static void write_object(struct buf *out, const json_t *object, int depth)
{
    struct member few[FEW];
    size_t n = json_object_size(object);
    struct member *many = n > FEW ? calloc(n, sizeof *many) : NULL;

    if (n > FEW && !many)
        out->failed = true;
    else
        write_members(out, object, many ? many : few, depth);
    free(many);
}

static void write_array(struct buf *out, const json_t *array, int depth)
{
    buf_putc(out, '[');
    for (size_t i = 0; i < json_array_size(array); i++) {
        if (i)
            buf_putc(out, ',');
        write_value(out, json_array_get(array, i), depth);
    }
    buf_putc(out, ']');
}

/* `depth` containers are open around the value. */
static void write_value(struct buf *out, const json_t *value, int depth)
{
    if (!value || out->failed) {
        out->failed = true;
        return;
    }
    switch (json_typeof(value)) {
    case JSON_OBJECT:
    case JSON_ARRAY:
        if (depth == JSON_DEPTH_MAX)
            out->failed = true;
        else if (json_is_object(value))
            write_object(out, value, depth + 1);
        else
            write_array(out, value, depth + 1);
        return;
    case JSON_STRING:
        write_string(out, json_string_value(value), json_string_length(value));
        return;
    case JSON_INTEGER:
        write_integer(out, json_integer_value(value));
        return;
    case JSON_TRUE:
        buf_puts(out, "true");
        return;
    case JSON_FALSE:
        buf_puts(out, "false");
        return;
    case JSON_NULL:
        buf_puts(out, "null");
        return;
    case JSON_REAL:
    default:
        out->failed = true;
    }
}

void json_canonical(struct buf *out, const json_t *value)
{
    write_value(out, value, 0);
}

void json_canonical_string(struct buf *out, const char *text)
{
    write_string(out, text, strlen(text));
}
