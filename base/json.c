/* Strict reading of JSON: what jansson accepts, less what two readers could understand differently. */
#include "base/json.h"

#include <assert.h>
#include <string.h>

#include "base/jsonread.h"
#include "base/num.h"
#include "base/plain.h"

#define NAME_SHOWN 64 /* bytes of a stranger's member name in a message */

void json_auto_free(json_t **j)
{
    json_decref(*j);
}

/* Sets the error with the line and column (both from 1, in bytes) of data[at]. */
static int err_at(struct err *e, const char *data, size_t at, const char *what)
{
    size_t line = 1, start = 0;

    for (size_t i = 0; i < at; i++)
        if (data[i] == '\n') {
            line++;
            start = i + 1;
        }
    return err_set(e, ERR_BAD_REQUEST, "JSON line %zu column %zu: %s", line, at - start + 1, what);
}

static const char *skip_string(const char *p, const char *end)
{
    p++;
    for (p += plain_run(p, (size_t)(end - p)); p < end && *p != '"'; p++)
        if (*p == '\\')
            p++;
    return p < end ? p + 1 : end;
}

/* What is wrong with the number at p, NULL when nothing; *next is the first byte after its digits. */
static const char *number_flaw(const char *p, const char *end, const char **next)
{
    const char *digits = p + (*p == '-'), *q = digits;
    uint64_t n;

    while (q < end && *q >= '0' && *q <= '9')
        q++;
    *next = q;
    if (q < end && (*q == '.' || *q == 'e' || *q == 'E'))
        return "only whole numbers without fraction or exponent are accepted";
    if (num_parse_u64(digits, (size_t)(q - digits), 0, JSON_INT_MAX, &n))
        return "a number is malformed or beyond 2^53-1; send large numbers as strings";
    return n == 0 && *p == '-' ? "-0 is not accepted" : NULL;
}

/* The limits that jansson does not know, on the text, so that they hold before it builds anything: depth, number of values, form of numbers. Leaves all
 * other syntax to jansson. */
static int text_check(const char *data, size_t len, struct err *e)
{
    const char *p = data, *end = data + len, *next;
    unsigned values = 0;
    int depth = 0;

    while (p < end) {
        switch (*p) {
        case '"':
            p = skip_string(p, end);
            continue;
        case '{':
        case '[':
            if (++depth > JSON_DEPTH_MAX)
                return err_at(e, data, (size_t)(p - data), "nested too deeply");
            break;
        case '}':
        case ']':
            depth--;
            break;
        case ',':
            if (++values > JSON_VALUES_MAX)
                return err_at(e, data, (size_t)(p - data), "too many values");
            break;
        case '-': case '0': case '1': case '2': case '3': case '4': case '5': case '6': case '7': case '8': case '9': {
            const char *flaw = number_flaw(p, end, &next);
            if (flaw)
                return err_at(e, data, (size_t)(p - data), flaw);
            p = next;
            continue;
        }
        default:
            break;
        }
        p++;
    }
    return 0;
}

/* Without memory jansson gives no reason, or blames the text: is there any room for what it would build from so much of it? */
static bool memory_is_short(size_t len)
{
    BUF_AUTO tree = BUF_INIT(SIZE_MAX / 2);

    return !buf_room(&tree, 16 * len);
}

json_t *json_read_object(const void *data, size_t len, size_t max_len, struct err *e)
{
    json_error_t where;

    if (len > max_len) {
        err_set(e, ERR_TOO_LARGE, "the document has %zu bytes, the limit is %zu", len, max_len);
        return NULL;
    }
    if (len == 0) {
        err_set(e, ERR_BAD_REQUEST, "JSON line 1 column 1: there is no document");
        return NULL;
    }
    if (utf8_check(data, len)) {
        err_set(e, ERR_BAD_REQUEST, "the document is not UTF-8 without NUL");
        return NULL;
    }
    if (text_check(data, len, e))
        return NULL;
    json_t *j = json_read_plain(data, len);
    if (j)
        return j;
    j = json_loadb(data, len, JSON_REJECT_DUPLICATES, &where);
    if (!j) {
        if (json_error_code(&where) == json_error_out_of_memory || memory_is_short(len))
            err_set(e, ERR_BUSY, "there is no memory for a document of %zu bytes", len);
        else
            err_set(e, ERR_BAD_REQUEST, "JSON line %d column %d: %s", where.line, where.column, where.text);
        return NULL;
    }
    if (!json_is_object(j)) {
        json_decref(j);
        err_set(e, ERR_BAD_REQUEST, "JSON line 1 column 1: the document must be an object");
        return NULL;
    }
    return j;
}

/* "digest.hex must be <what>" */
static int must_be(const struct json_reader *r, const char *name, const char *what, struct err *e)
{
    return err_set(e, ERR_BAD_REQUEST, "%s%s%s must be %s", r->where, *r->where ? "." : "", name, what);
}

int json_begin(struct json_reader *r, const json_t *object, const char *where, struct err *e)
{
    *r = (struct json_reader){.object = object, .where = where};
    return json_is_object(object) ? 0 : err_set(e, ERR_BAD_REQUEST, "%s must be an object", *where ? where : "the document");
}

void json_begin_flat(struct json_reader *r, const struct json_flat *flat)
{
    *r = (struct json_reader){.flat = flat, .where = ""};
}

/* A member of a tree, or of an object that was read where it stands. */
struct value {
    bool there;
    json_type type;
    const char *text;
    size_t len;
    int64_t number;
    const json_t *tree;
    unsigned within;
};

static struct value from_tree(const json_t *v)
{
    return (struct value){.there = v != NULL, .type = v ? json_typeof(v) : JSON_NULL, .text = json_string_value(v), .len = json_string_length(v),
                          .number = json_integer_value(v), .tree = v};
}

static struct value from_flat(const struct json_flat *f, unsigned within, const char *name)
{
    for (unsigned n = 0; n < f->n; n++) {
        const struct json_flat_member *m = &f->member[n];

        if (m->within == within && !strcmp(m->name, name))
            return (struct value){.there = true, .type = m->type, .text = m->text, .len = m->len, .number = m->number, .within = n + 1};
    }
    return (struct value){.there = false};
}

static struct value look(const struct json_reader *r, const char *name)
{
    return r->flat ? from_flat(r->flat, r->within, name) : from_tree(json_object_get(r->object, name));
}

/* From now on the member is a known one. */
static struct value take(struct json_reader *r, const char *name)
{
    assert(r->n_seen < sizeof r->seen / sizeof r->seen[0]);
    r->seen[r->n_seen++] = name;
    return look(r, name);
}

bool json_has(const struct json_reader *r, const char *name)
{
    return look(r, name).there;
}

static int require(const struct json_reader *r, const char *name, bool there, struct err *e)
{
    return there ? 0 : err_set(e, ERR_BAD_REQUEST, "%s%s%s is missing", r->where, *r->where ? "." : "", name);
}

static int as_str(const struct json_reader *r, const char *name, const struct value *v, size_t max_len, const char **out, struct err *e)
{
    if (v->type != JSON_STRING)
        return must_be(r, name, "a string", e);
    if (v->len > max_len)
        return err_set(e, ERR_BAD_REQUEST, "%s%s%s has %zu bytes, the limit is %zu", r->where, *r->where ? "." : "", name, v->len, max_len);
    *out = v->text;
    return 0;
}

int json_get_str(struct json_reader *r, const char *name, size_t max_len, const char **out, struct err *e)
{
    const struct value v = take(r, name);

    return require(r, name, v.there, e) ? -1 : as_str(r, name, &v, max_len, out, e);
}

int json_opt_str(struct json_reader *r, const char *name, size_t max_len, const char **out, struct err *e)
{
    const struct value v = take(r, name);

    if (v.there)
        return as_str(r, name, &v, max_len, out, e);
    *out = NULL;
    return 0;
}

static int as_int(const struct json_reader *r, const char *name, const struct value *v, int64_t min, int64_t max, int64_t *out, struct err *e)
{
    int64_t n = v->number;

    if (v->type != JSON_INTEGER)
        return must_be(r, name, "a whole number", e);
    if (n < min || n > max)
        return err_set(e, ERR_BAD_REQUEST, "%s%s%s must be from %lld to %lld", r->where, *r->where ? "." : "", name, (long long)min, (long long)max);
    *out = n;
    return 0;
}

int json_get_int(struct json_reader *r, const char *name, int64_t min, int64_t max, int64_t *out, struct err *e)
{
    const struct value v = take(r, name);

    return require(r, name, v.there, e) ? -1 : as_int(r, name, &v, min, max, out, e);
}

int json_opt_int(struct json_reader *r, const char *name, int64_t min, int64_t max, int64_t dflt, int64_t *out, struct err *e)
{
    const struct value v = take(r, name);

    if (v.there)
        return as_int(r, name, &v, min, max, out, e);
    *out = dflt;
    return 0;
}

int json_opt_bool(struct json_reader *r, const char *name, bool dflt, bool *out, struct err *e)
{
    const struct value v = take(r, name);

    if (v.there && v.type != JSON_TRUE && v.type != JSON_FALSE)
        return must_be(r, name, "true or false", e);
    *out = v.there ? v.type == JSON_TRUE : dflt;
    return 0;
}

int json_opt_object(struct json_reader *r, const char *name, const json_t **out, struct err *e)
{
    const struct value v = take(r, name);

    assert(!r->flat);
    if (v.there && v.type != JSON_OBJECT)
        return must_be(r, name, "an object", e);
    *out = v.tree;
    return 0;
}

int json_get_object(struct json_reader *r, const char *name, const json_t **out, struct err *e)
{
    const json_t *v = NULL;

    if (json_opt_object(r, name, &v, e) || require(r, name, v != NULL, e))
        return -1;
    *out = v;
    return 0;
}

int json_get_within(struct json_reader *r, const char *name, struct json_reader *in, struct err *e)
{
    const struct value v = take(r, name);

    if (require(r, name, v.there, e))
        return -1;
    if (v.type != JSON_OBJECT)
        return must_be(r, name, "an object", e);
    *in = (struct json_reader){.object = v.tree, .flat = r->flat, .within = v.within, .where = name};
    return 0;
}

int json_opt_array(struct json_reader *r, const char *name, size_t max_items, const json_t **out, struct err *e)
{
    const struct value v = take(r, name);

    if (v.there && v.type != JSON_ARRAY)
        return must_be(r, name, "an array", e);
    if (json_array_size(v.tree) > max_items)
        return err_set(e, ERR_BAD_REQUEST, "%s%s%s has %zu items, the limit is %zu", r->where, *r->where ? "." : "", name, json_array_size(v.tree),
                       max_items);
    *out = v.tree;
    return 0;
}

int json_get_array(struct json_reader *r, const char *name, size_t max_items, const json_t **out, struct err *e)
{
    const json_t *v = NULL;

    if (json_opt_array(r, name, max_items, &v, e) || require(r, name, v != NULL, e))
        return -1;
    *out = v;
    return 0;
}

static bool was_seen(const struct json_reader *r, const char *name)
{
    for (size_t i = 0; i < r->n_seen; i++)
        if (strcmp(r->seen[i], name) == 0)
            return true;
    return false;
}

static int unknown(const struct json_reader *r, const char *name, struct err *e)
{
    return err_set(e, ERR_UNKNOWN_MEMBER, "%s%s%.*s is not a member this service knows", r->where, *r->where ? "." : "", NAME_SHOWN, name);
}

int json_done(const struct json_reader *r, struct err *e)
{
    /* jansson's iterators take a non-const object only because they can also replace values. */
    json_t *object = (json_t *)(uintptr_t)r->object;

    for (void *it = json_object_iter(object); it; it = json_object_iter_next(object, it))
        if (!was_seen(r, json_object_iter_key(it)))
            return unknown(r, json_object_iter_key(it), e);
    for (unsigned n = 0; r->flat && n < r->flat->n; n++)
        if (r->flat->member[n].within == r->within && !was_seen(r, r->flat->member[n].name))
            return unknown(r, r->flat->member[n].name, e);
    return 0;
}
