/* Decides in one pass whether bytes are the canonical form (RFC 8785) of one JSON object; without memory of its own, unless the object is asked for. */
#include "base/json.h"

#include <assert.h>
#include <string.h>

#include "base/num.h"
#include "base/plain.h"
#include "base/utf8.h"

/* One open container. An object remembers its last member name, since names must rise. */
struct level {
    bool is_array;
    const uint8_t *name;
    size_t name_len;
    struct json_wanted *found; /* this container is looked for */
    json_t *node; /* NULL unless the tree is built */
};

struct walk {
    const uint8_t *p, *end;
    struct json_wanted *wanted, *last; /* what is looked for from here on */
    struct level level[JSON_DEPTH_MAX];
    size_t depth;
    bool fresh; /* the innermost container has nothing in it yet */
    bool build;
    json_t *root; /* of the tree that is built */
};

/* Bytes that a member name may have: [a-z0-9_]. */
static const bool name_byte[256] = {
    ['_'] = 1, ['0'] = 1, ['1'] = 1, ['2'] = 1, ['3'] = 1, ['4'] = 1, ['5'] = 1, ['6'] = 1, ['7'] = 1, ['8'] = 1, ['9'] = 1,
    ['a'] = 1, ['b'] = 1, ['c'] = 1, ['d'] = 1, ['e'] = 1, ['f'] = 1, ['g'] = 1, ['h'] = 1, ['i'] = 1, ['j'] = 1, ['k'] = 1, ['l'] = 1, ['m'] = 1,
    ['n'] = 1, ['o'] = 1, ['p'] = 1, ['q'] = 1, ['r'] = 1, ['s'] = 1, ['t'] = 1, ['u'] = 1, ['v'] = 1, ['w'] = 1, ['x'] = 1, ['y'] = 1, ['z'] = 1,
};

static bool next_is(const struct walk *w, uint8_t c)
{
    return w->p < w->end && *w->p == c;
}

static int take(struct walk *w, uint8_t c)
{
    if (!next_is(w, c))
        return -1;
    w->p++;
    return 0;
}

static int take_word(struct walk *w, const char *word, size_t len)
{
    if ((size_t)(w->end - w->p) < len || memcmp(w->p, word, len) != 0)
        return -1;
    w->p += len;
    return 0;
}

/* After a backslash: the only escapes are the seven short ones and \u00xx (lower case) for the other control characters but NUL. */
static int take_escape(struct walk *w)
{
    size_t left = (size_t)(w->end - w->p);

    if (left && *w->p && strchr("\"\\bfnrt", *w->p)) {
        w->p++;
        return 0;
    }
    if (left < 5 || memcmp(w->p, "u00", 3) != 0 || (w->p[3] != '0' && w->p[3] != '1'))
        return -1;
    uint8_t low = w->p[4];
    if (!(low >= '0' && low <= '9') && !(low >= 'a' && low <= 'f'))
        return -1;
    /* 00 is NUL, 08 to 0d have short forms except 0b. */
    if (w->p[3] == '0' && (low == '0' || low == '8' || low == '9' || low == 'a' || low == 'c' || low == 'd'))
        return -1;
    w->p += 5;
    return 0;
}

static int take_string(struct walk *w)
{
    if (take(w, '"'))
        return -1;
    while (w->p += plain_run(w->p, (size_t)(w->end - w->p)), w->p < w->end) {
        uint8_t c = *w->p;
        if (c == '"') {
            w->p++;
            return 0;
        }
        if (c < 0x20)
            return -1;
        if (c == '\\') {
            w->p++;
            if (take_escape(w))
                return -1;
            continue;
        }
        size_t n = utf8_sequence(w->p, (size_t)(w->end - w->p));
        if (n == 0)
            return -1;
        w->p += n;
    }
    return -1;
}

static int take_number(struct walk *w)
{
    const uint8_t *from;
    uint64_t n;
    bool negative = next_is(w, '-');

    w->p += negative;
    for (from = w->p; w->p < w->end && *w->p >= '0' && *w->p <= '9';)
        w->p++;
    /* Zero has no sign. */
    return num_parse_u64((const char *)from, (size_t)(w->p - from), negative, JSON_INT_MAX, &n);
}

/* "name": with a name greater than the one before in this object. */
static int take_name(struct walk *w, struct level *l)
{
    if (take(w, '"'))
        return -1;
    const uint8_t *name = w->p;
    while (w->p < w->end && name_byte[*w->p])
        w->p++;
    size_t len = (size_t)(w->p - name), same = 0;
    while (same < len && same < l->name_len && name[same] == l->name[same])
        same++;
    if (same == len || (same < l->name_len && name[same] < l->name[same]))
        return -1;
    l->name = name;
    l->name_len = len;
    return take_word(w, "\":", 2);
}

/* What the string between these quotes says; its form was checked. */
static json_t *unescape(const uint8_t *p, size_t len)
{
    static const char letters[] = "\"\\bfnrt", bytes[] = "\"\\\b\f\n\r\t";
    BUF_AUTO text = BUF_INIT(len + 1);

    for (size_t i = 0; i < len; i++) {
        if (p[i] != '\\') {
            buf_putc(&text, p[i]);
        } else if (p[++i] == 'u') {
            buf_putc(&text, (uint8_t)((p[i + 3] - '0') * 16 + (p[i + 4] <= '9' ? p[i + 4] - '0' : p[i + 4] - 'a' + 10)));
            i += 4;
        } else {
            buf_putc(&text, (uint8_t)bytes[strchr(letters, p[i]) - letters]);
        }
    }
    return buf_ok(&text) ? NULL : json_stringn_nocheck((const char *)text.data, text.len);
}

static json_t *scalar(const uint8_t *p, size_t len)
{
    uint64_t n = 0;

    switch (*p) {
    case '"':
        return memchr(p + 1, '\\', len - 2) ? unescape(p + 1, len - 2) : json_stringn_nocheck((const char *)p + 1, len - 2);
    case 't':
        return json_true();
    case 'f':
        return json_false();
    case 'n':
        return json_null();
    default:
        for (size_t i = *p == '-'; i < len; i++)
            n = 10 * n + (uint64_t)(p[i] - '0');
        return json_integer(*p == '-' ? -(json_int_t)n : (json_int_t)n);
    }
}

/* Takes node over into its container; -1 also for NULL. */
static int attach(struct level *l, json_t *node)
{
    return l->is_array ? json_array_append_new(l->node, node) : json_object_setn_new_nocheck(l->node, (const char *)l->name, l->name_len, node);
}

static int open_container(struct walk *w, bool is_array, struct json_wanted *found)
{
    struct level l = {.is_array = is_array, .found = found};

    if (w->depth == JSON_DEPTH_MAX)
        return -1;
    if (w->build) {
        l.node = is_array ? json_array() : json_object();
        if (!w->depth)
            w->root = l.node;
        if (!l.node || (w->depth && attach(&w->level[w->depth - 1], l.node)))
            return -1;
    }
    w->level[w->depth++] = l;
    w->p++;
    w->fresh = true;
    return 0;
}

static int take_value(struct walk *w, struct json_wanted *found)
{
    if (w->p == w->end)
        return -1;
    switch (*w->p) {
    case '"':
        return take_string(w);
    case '{':
        return open_container(w, false, found);
    case '[':
        return open_container(w, true, found);
    case 't':
        return take_word(w, "true", 4);
    case 'f':
        return take_word(w, "false", 5);
    case 'n':
        return take_word(w, "null", 4);
    default:
        return take_number(w);
    }
}

/* How the path of the member under way stands to a wanted one in the order of this walk: < 0 = before it. Nothing within an array is wanted. */
static int path_order(const struct walk *w, const char *path)
{
    for (size_t n = 0; n < w->depth; n++) {
        const struct level *l = &w->level[n];
        size_t same = 0;

        while (same < l->name_len && l->name[same] == (uint8_t)path[same])
            same++;
        if (l->is_array || same < l->name_len)
            return l->is_array || l->name[same] < (uint8_t)path[same] ? -1 : 1;
        path += same;
        if (n + 1 == w->depth || *path != '.')
            return *path ? -1 : n + 1 < w->depth;
        path++;
    }
    return -1;
}

/* The one that the member under way is, if it is looked for. Those that come before it in the order are not there. */
static struct json_wanted *find(struct walk *w, const uint8_t *value)
{
    int order = -1;

    while (w->wanted < w->last && (order = path_order(w, w->wanted->name)) > 0)
        w->wanted++;
    if (w->wanted == w->last || order)
        return NULL;
    w->wanted->text.data = value;
    return w->wanted++;
}

static void end_text(const struct walk *w, struct json_wanted *found)
{
    if (found)
        found->text.len = (size_t)(w->p - found->text.data);
}

/* One item of the innermost container, or its end. */
static int step(struct walk *w)
{
    struct level *l = &w->level[w->depth - 1];
    struct json_wanted *found = NULL;

    if (next_is(w, l->is_array ? ']' : '}')) {
        w->p++;
        w->depth--;
        w->fresh = false;
        end_text(w, l->found);
        return 0;
    }
    if (!w->fresh && take(w, ','))
        return -1;
    w->fresh = false;
    if (!l->is_array && take_name(w, l))
        return -1;
    const uint8_t *value = w->p;
    size_t depth = w->depth;
    if (!l->is_array)
        found = find(w, value);
    if (take_value(w, found))
        return -1;
    if (w->depth != depth)
        return 0;
    end_text(w, found);
    return w->build ? attach(l, scalar(value, (size_t)(w->p - value))) : 0;
}

static int scan(struct walk *w, size_t len)
{
    if (len == 0)
        return -1;
    w->end = w->p + len;
    if (!next_is(w, '{') || open_container(w, false, NULL))
        return -1;
    while (w->depth)
        if (step(w))
            return -1;
    return w->p == w->end ? 0 : -1;
}

json_t *json_read_canonical(const void *data, size_t len)
{
    struct walk w = {.p = data, .build = true};

    if (!scan(&w, len))
        return w.root;
    json_decref(w.root);
    return NULL;
}

int json_is_canonical(const void *data, size_t len)
{
    return json_scan_canonical(data, len, NULL, 0);
}

int json_scan_canonical(const void *data, size_t len, struct json_wanted *wanted, size_t n)
{
    struct walk w = {.p = data, .wanted = wanted, .last = n ? wanted + n : wanted};

    for (size_t i = 0; i < n; i++) {
        assert(!i || strcmp(wanted[i - 1].name, wanted[i].name) < 0);
        wanted[i].text = span_of(NULL, 0);
    }

    return scan(&w, len);
}
