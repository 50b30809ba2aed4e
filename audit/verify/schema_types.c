/* Checks one value, or the members of one object, against a table of fields. */
#include "audit/verify/schema_types.h"

#include <string.h>

#include "base/timefmt.h"

enum { DIGIT = 1, LETTER = 2 }; /* of hexadecimal text, of base64 */
static const uint8_t ALPHABET[256] = {
    ['0'] = 3, ['1'] = 3, ['2'] = 3, ['3'] = 3, ['4'] = 3, ['5'] = 3, ['6'] = 3, ['7'] = 3, ['8'] = 3, ['9'] = 3, ['a'] = 3, ['b'] = 3, ['c'] = 3,
    ['d'] = 3, ['e'] = 3, ['f'] = 3, ['g'] = 2, ['h'] = 2, ['i'] = 2, ['j'] = 2, ['k'] = 2, ['l'] = 2, ['m'] = 2, ['n'] = 2, ['o'] = 2, ['p'] = 2,
    ['q'] = 2, ['r'] = 2, ['s'] = 2, ['t'] = 2, ['u'] = 2, ['v'] = 2, ['w'] = 2, ['x'] = 2, ['y'] = 2, ['z'] = 2, ['A'] = 2, ['B'] = 2, ['C'] = 2,
    ['D'] = 2, ['E'] = 2, ['F'] = 2, ['G'] = 2, ['H'] = 2, ['I'] = 2, ['J'] = 2, ['K'] = 2, ['L'] = 2, ['M'] = 2, ['N'] = 2, ['O'] = 2, ['P'] = 2,
    ['Q'] = 2, ['R'] = 2, ['S'] = 2, ['T'] = 2, ['U'] = 2, ['V'] = 2, ['W'] = 2, ['X'] = 2, ['Y'] = 2, ['Z'] = 2, ['+'] = 2, ['/'] = 2};

/* How many bytes at the front are of that kind. */
static size_t run_of(const char *text, size_t len, uint8_t kind)
{
    size_t n = 0;

    while (n < len && (ALPHABET[(uint8_t)text[n]] & kind))
        n++;
    return n;
}

static bool is_hex(const json_t *v, size_t digits)
{
    return json_is_string(v) && json_string_length(v) == digits && run_of(json_string_value(v), digits, DIGIT) == digits;
}

static bool is_word(const char *text, const char *const *words)
{
    while (text && *words)
        if (!strcmp(text, *words++))
            return true;
    return false;
}

/* The alphabet and the length; the bits are checked where the bytes are used. */
static bool is_base64(const json_t *v)
{
    const char *s = json_string_value(v);
    size_t len = json_string_length(v), n;

    if (!s || len % 4)
        return false;
    n = run_of(s, len, LETTER);
    return len - n <= 2 && n + strspn(s + n, "=") == len;
}

static bool is_time(const json_t *v)
{
    int64_t us;

    return json_is_string(v) && json_string_length(v) == TIME_TEXT - 1 && !time_parse(json_string_value(v), &us);
}

static bool are_hashes(const json_t *object)
{
    void *at;

    if (!json_is_object(object))
        return false;
    for (at = json_object_iter((json_t *)(uintptr_t)object); at; at = json_object_iter_next((json_t *)(uintptr_t)object, at))
        if (!is_hex(json_object_iter_value(at), 64))
            return false;
    return true;
}

static int check_items(const struct field *f, const json_t *array, struct err *e)
{
    if (!json_is_array(array))
        return err_set(e, ERR_BAD_REQUEST, "member %s is no array", f->name);
    for (size_t i = 0; i < json_array_size(array); i++)
        if (field_check(f->sub, json_array_get(array, i), e))
            return err_context(e, "%s[%zu]", f->name, i);
    return 0;
}

static bool fits(const struct field *f, const json_t *v)
{
    switch (f->type) {
    case TYPE_TEXT: return json_is_string(v);
    case TYPE_NAME: return json_is_string(v) && json_string_length(v) > 0;
    case TYPE_WORD: return is_word(json_string_value(v), f->words);
    case TYPE_HASH: return is_hex(v, 64);
    case TYPE_HASH_384: return is_hex(v, 96);
    case TYPE_HASH_OR_EMPTY: return is_hex(v, 64) || (json_is_string(v) && !json_string_length(v));
    case TYPE_ID: return is_hex(v, 32);
    case TYPE_BASE64: return is_base64(v);
    case TYPE_TIME: return is_time(v);
    case TYPE_COUNT: return json_is_integer(v) && json_integer_value(v) >= 0;
    case TYPE_INTEGER: return json_is_integer(v);
    case TYPE_BOOL: return json_is_boolean(v);
    case TYPE_SCALAR: return json_is_string(v) || json_is_integer(v);
    case TYPE_HASHES: return are_hashes(v);
    case TYPE_END:
    case TYPE_OBJECT:
    case TYPE_ARRAY: break;
    }
    return false;
}

int field_check(const struct field *f, const json_t *value, struct err *e)
{
    struct err ignored = {0};

    if (f->type == TYPE_ARRAY)
        return check_items(f, value, e);
    if (f->type != TYPE_OBJECT)
        return fits(f, value) ? 0 : err_set(e, ERR_BAD_REQUEST, "member %s has a value that does not fit", f->name ? f->name : "(item)");
    if (f->alternative && !fields_check(f->alternative, value, &ignored))
        return 0;
    return fields_check(f->sub, value, e) ? err_context(e, "%s", f->name ? f->name : "(item)") : 0;
}

static bool is_known(const struct field *list, const char *name)
{
    while (list->type != TYPE_END && strcmp(list->name, name))
        list++;
    return list->type != TYPE_END;
}

static int unknown_member(const struct field *list, const json_t *object, struct err *e)
{
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)object, name, value)
        if (!is_known(list, name))
            return err_set(e, ERR_UNKNOWN_MEMBER, "member %.40s is not one of format version 1", name);
    return 0;
}

int fields_check(const struct field *list, const json_t *object, struct err *e)
{
    size_t found = 0;

    if (!json_is_object(object))
        return err_set(e, ERR_BAD_REQUEST, "it is no object");
    for (const struct field *f = list; f->type != TYPE_END; f++) {
        const json_t *v = json_object_get(object, f->name);

        if (!v && !f->optional)
            return err_set(e, ERR_BAD_REQUEST, "member %s is missing", f->name);
        if (v && field_check(f, v, e))
            return -1;
        found += v != NULL;
    }
    return found == json_object_size(object) ? 0 : unknown_member(list, object, e);
}
