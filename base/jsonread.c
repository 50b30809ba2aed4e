/* Builds jansson's values from JSON text that has been looked through before (UTF-8 without NUL, whole numbers in range, depth). jansson's own reader takes each
 * byte through several calls, and reading is most of the work of a start and of the index. This one gives up at the first thing it does not like: then jansson
 * reads the text too, and says what is wrong and where. Small objects without lists, as most requests are, and a list of such, it reads where they stand,
 * without any values. */
#include <string.h>

#include "base/json.h"
#include "base/jsonread.h"
#include "base/num.h"
#include "base/plain.h"

struct text {
    const char *p, *end;
};

static json_t *take_value(struct text *t, int depth);

static char skip_space(struct text *t)
{
    while (t->p < t->end && (*t->p == ' ' || *t->p == '\t' || *t->p == '\n' || *t->p == '\r'))
        t->p++;
    return t->p < t->end ? *t->p : '\0';
}

static int take(struct text *t, char c)
{
    if (skip_space(t) != c)
        return -1;
    t->p++;
    return 0;
}

/* The bytes of a string up to its closing quote, which is taken too. -1 where it is not closed, or holds an escape or a control character. */
static int take_plain(struct text *t, const char **start, size_t *len)
{
    if (take(t, '"'))
        return -1;
    *start = t->p;
    t->p += plain_run(t->p, (size_t)(t->end - t->p));
    while (t->p < t->end && *t->p != '"') {
        if ((unsigned char)*t->p < 0x20 || *t->p == '\\')
            return -1;
        t->p++;
    }
    if (t->p == t->end)
        return -1;
    *len = (size_t)(t->p++ - *start);
    return 0;
}

static json_t *take_string(struct text *t)
{
    const char *start;
    size_t len;

    return take_plain(t, &start, &len) ? NULL : json_stringn_nocheck(start, len);
}

static json_t *take_number(struct text *t)
{
    bool negative = *t->p == '-';
    json_int_t n = 0;

    t->p += negative;
    if (t->p == t->end || *t->p < '0' || *t->p > '9')
        return NULL;
    for (; t->p < t->end && *t->p >= '0' && *t->p <= '9'; t->p++)
        n = n * 10 + (*t->p - '0');
    return json_integer(negative ? -n : n);
}

static json_t *take_word(struct text *t, const char *word, json_t *value)
{
    size_t n = strlen(word);

    if ((size_t)(t->end - t->p) < n || memcmp(t->p, word, n) != 0)
        return NULL;
    t->p += n;
    return value;
}

static json_t *give_up(json_t *half)
{
    json_decref(half);
    return NULL;
}

static json_t *take_object(struct text *t, int depth)
{
    json_t *object = json_object();
    size_t members = 0;

    t->p++;
    if (!object || !take(t, '}'))
        return object;
    do {
        const char *name;
        size_t len;
        json_t *value;

        if (take_plain(t, &name, &len) || take(t, ':') || !(value = take_value(t, depth)) || json_object_setn_new_nocheck(object, name, len, value) ||
            json_object_size(object) != ++members) /* it did not grow: the member was there */
            return give_up(object);
    } while (!take(t, ','));
    return take(t, '}') ? give_up(object) : object;
}

static json_t *take_array(struct text *t, int depth)
{
    json_t *array = json_array();

    t->p++;
    if (!array || !take(t, ']'))
        return array;
    do {
        json_t *value = take_value(t, depth);

        if (!value || json_array_append_new(array, value))
            return give_up(array);
    } while (!take(t, ','));
    return take(t, ']') ? give_up(array) : array;
}

static json_t *take_value(struct text *t, int depth)
{
    char c = skip_space(t);

    switch (c) {
    case '"': return take_string(t);
    case '{': return depth == JSON_DEPTH_MAX ? NULL : take_object(t, depth + 1);
    case '[': return depth == JSON_DEPTH_MAX ? NULL : take_array(t, depth + 1);
    case 't': return take_word(t, "true", json_true());
    case 'f': return take_word(t, "false", json_false());
    case 'n': return take_word(t, "null", json_null());
    default: return c == '-' || (c >= '0' && c <= '9') ? take_number(t) : NULL;
    }
}

json_t *json_read_plain(const char *data, size_t len)
{
    struct text t = {data, data + len};
    json_t *object = skip_space(&t) == '{' ? take_value(&t, 0) : NULL;

    (void)skip_space(&t);
    return object && t.p != t.end ? give_up(object) : object;
}

static bool stands_there(const struct json_flat *f, unsigned within, const char *name, size_t len)
{
    for (unsigned n = 0; n < f->n; n++)
        if (f->member[n].within == within && f->member[n].name_len == len && !memcmp(f->member[n].name, name, len))
            return true;
    return false;
}

/* Digits; what else a number may have is left to jansson. */
static int take_digits(struct text *t, int64_t *out)
{
    const char *start = t->p;
    uint64_t n;

    while (t->p < t->end && *t->p >= '0' && *t->p <= '9')
        t->p++;
    if (num_parse_u64(start, (size_t)(t->p - start), 0, JSON_INT_MAX, &n))
        return -1;
    *out = (int64_t)n;
    return 0;
}

static int take_bool(struct text *t, json_type *out)
{
    *out = *t->p == 't' ? JSON_TRUE : JSON_FALSE;
    return take_word(t, *t->p == 't' ? "true" : "false", json_true()) ? 0 : -1;
}

static int take_flat(struct text *t, char *base, unsigned within, struct json_flat *out);

static int take_flat_value(struct text *t, char *base, unsigned index, struct json_flat *out)
{
    struct json_flat_member *m = &out->member[index];
    const char *text;

    switch (skip_space(t)) {
    case '"':
        m->type = JSON_STRING;
        if (take_plain(t, &text, &m->len))
            return -1;
        m->text = base + (text - base);
        return 0;
    case '{':
        m->type = JSON_OBJECT;
        return m->within ? -1 : take_flat(t, base, index + 1, out);
    case 't':
    case 'f':
        return take_bool(t, &m->type);
    default:
        m->type = JSON_INTEGER;
        return take_digits(t, &m->number);
    }
}

static int take_flat(struct text *t, char *base, unsigned within, struct json_flat *out)
{
    if (take(t, '{'))
        return -1;
    if (!take(t, '}'))
        return 0;
    do {
        struct json_flat_member *m = &out->member[out->n];
        const char *name;
        size_t len;

        if (out->n == JSON_FLAT_MAX || take_plain(t, &name, &len) || stands_there(out, within, name, len) || take(t, ':'))
            return -1;
        *m = (struct json_flat_member){.within = within, .name = base + (name - base), .name_len = len};
        if (take_flat_value(t, base, out->n++, out))
            return -1;
    } while (!take(t, ','));
    return take(t, '}');
}

int json_flat_read(char *text, size_t len, struct json_flat *out)
{
    struct text t = {text, text + len};

    out->n = 0;
    if (utf8_check(text, len) || take_flat(&t, text, 0, out))
        return -1;
    (void)skip_space(&t);
    if (t.p != t.end)
        return -1;
    for (unsigned n = 0; n < out->n; n++) {
        out->member[n].name[out->member[n].name_len] = '\0';
        if (out->member[n].text)
            out->member[n].text[out->member[n].len] = '\0';
    }
    return 0;
}

static bool plain_names(const struct json_flat *f)
{
    for (unsigned n = 0; n < f->n; n++)
        for (size_t k = 0; k < f->member[n].name_len; k++)
            if ((unsigned char)f->member[n].name[k] >= 0x80)
                return false;
    return true;
}

int json_flat_list(char *text, size_t len, const char *name, struct span *out, size_t max, size_t *n)
{
    struct text t = {text, text + len};
    struct json_flat item;
    const char *found;
    size_t found_len;

    *n = 0;
    if (take(&t, '{') || take_plain(&t, &found, &found_len) || found_len != strlen(name) || memcmp(found, name, found_len) != 0 || take(&t, ':') ||
        take(&t, '[') || utf8_check(text, len))
        return -1;
    do {
        const char *start;

        (void)skip_space(&t);
        start = t.p;
        item.n = 0;
        if (*n == max || take_flat(&t, text, 0, &item) || !plain_names(&item))
            return -1;
        out[(*n)++] = span_of(start, (size_t)(t.p - start));
    } while (!take(&t, ','));
    if (take(&t, ']') || take(&t, '}'))
        return -1;
    (void)skip_space(&t);
    return t.p == t.end ? 0 : -1;
}

static bool goes_before(const struct json_flat_member *a, const struct json_flat_member *b)
{
    int order = memcmp(a->name, b->name, a->name_len < b->name_len ? a->name_len : b->name_len);

    return order ? order < 0 : a->name_len < b->name_len;
}

static void put_members(struct buf *out, const struct json_flat *f, unsigned within);

/* No string in it has an escape, and so none needs one. */
static void put_value(struct buf *out, const struct json_flat *f, unsigned index)
{
    const struct json_flat_member *m = &f->member[index];

    switch ((int)m->type) {
    case JSON_STRING:
        buf_putc(out, '"');
        buf_put(out, m->text, m->len);
        buf_putc(out, '"');
        break;
    case JSON_OBJECT: put_members(out, f, index + 1); break;
    case JSON_INTEGER: buf_decimal(out, (uint64_t)m->number); break;
    default: buf_puts(out, m->type == JSON_TRUE ? "true" : "false");
    }
}

static void put_members(struct buf *out, const struct json_flat *f, unsigned within)
{
    unsigned order[JSON_FLAT_MAX], count = 0;

    for (unsigned n = 0; n < f->n; n++) {
        unsigned at = count;

        if (f->member[n].within != within)
            continue;
        for (; at && goes_before(&f->member[n], &f->member[order[at - 1]]); at--)
            order[at] = order[at - 1];
        order[at] = n;
        count++;
    }
    buf_putc(out, '{');
    for (unsigned n = 0; n < count; n++) {
        buf_puts(out, n ? ",\"" : "\"");
        buf_put(out, f->member[order[n]].name, f->member[order[n]].name_len);
        buf_puts(out, "\":");
        put_value(out, f, order[n]);
    }
    buf_putc(out, '}');
}

void json_flat_canonical(struct buf *out, const struct json_flat *flat)
{
    put_members(out, flat, 0);
}
