/* Fuzzes json_read_object and the reader: what is accepted writes to a canonical text that reads back as the same value. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

#define INPUT_MAX (64u << 10)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void use_reader(const json_t *object)
{
    struct json_reader r;
    struct err e = {0};
    const char *s = NULL;
    const json_t *j = NULL;
    int64_t n = 0;
    bool b = false;

    require(json_begin(&r, object, "", &e) == 0);
    bool refused = json_opt_str(&r, "s", 8, &s, &e) || json_opt_int(&r, "n", -5, 5, 0, &n, &e) || json_opt_bool(&r, "b", false, &b, &e)
        || json_opt_object(&r, "o", &j, &e) || json_opt_array(&r, "a", 3, &j, &e) || json_done(&r, &e);
    require(refused == (e.code != ERR_NONE) && n >= -5 && n <= 5);
    require(utf8_check(e.detail, strlen(e.detail)) == 0);
}

static json_t *tree_of(const struct json_flat *f, unsigned within)
{
    json_t *object = json_object();

    for (unsigned n = 0; n < f->n; n++) {
        const struct json_flat_member *m = &f->member[n];

        if (m->within == within)
            json_object_set_new(object, m->name, m->type == JSON_OBJECT ? tree_of(f, n + 1) : m->type == JSON_STRING ? json_stringn(m->text, m->len)
                                                 : m->type == JSON_INTEGER ? json_integer(m->number) : json_boolean(m->type == JSON_TRUE));
    }
    return object;
}

/* Read where it stands it is the same, or it is left as it was. */
static void read_flat(const uint8_t *data, size_t size, const json_t *tree)
{
    BUF_AUTO text = BUF_INIT(INPUT_MAX);
    struct json_flat flat;

    buf_put(&text, data, size);
    if (!text.data || buf_ok(&text))
        return;
    if (json_flat_read((char *)text.data, text.len, &flat)) {
        require(span_eq(buf_span(&text), span_of(data, size)));
        return;
    }
    JSON_AUTO *same = tree_of(&flat, 0);
    require(tree && json_equal(same, tree));
}

#define LIST_MAX 64

/* A list of such objects holds what the tree holds, and each of them has one canonical form, whichever way it was read. */
static void read_list(const uint8_t *data, size_t size, const json_t *tree)
{
    BUF_AUTO text = BUF_INIT(INPUT_MAX);
    struct span item[LIST_MAX];
    const json_t *list = json_object_get(tree, "items");
    size_t n = 0;

    buf_put(&text, data, size);
    if (!text.data || buf_ok(&text) || json_flat_list((char *)text.data, text.len, "items", item, LIST_MAX, &n)) {
        require(!text.len || span_eq(buf_span(&text), span_of(data, text.len)));
        return;
    }
    require(n && json_object_size(tree) == 1 && json_array_size(list) == n);
    for (size_t k = 0; k < n; k++) {
        BUF_AUTO quick = BUF_INIT(INPUT_MAX), slow = BUF_INIT(INPUT_MAX);
        struct json_flat flat;

        require(item[k].data >= text.data && item[k].data + item[k].len <= text.data + text.len);
        require(!json_flat_read((char *)text.data + (item[k].data - text.data), item[k].len, &flat));
        json_flat_canonical(&quick, &flat);
        json_canonical(&slow, json_array_get(list, k));
        require(!buf_ok(&quick) && !buf_ok(&slow) && span_eq(buf_span(&quick), buf_span(&slow)));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err e = {0};
    JSON_AUTO *j = json_read_object(data, size, INPUT_MAX, &e);

    require((j == NULL) == (e.code != ERR_NONE));
    read_flat(data, size, j);
    read_list(data, size, j);
    if (!j)
        return 0;
    use_reader(j);
    JSON_AUTO *slow = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);
    require(slow && json_equal(j, slow)); /* whichever way it was read */
    BUF_AUTO first = BUF_INIT(8 * (size_t)INPUT_MAX);
    BUF_AUTO second = BUF_INIT(8 * (size_t)INPUT_MAX);
    json_canonical(&first, j);
    require(buf_ok(&first) == 0);
    JSON_AUTO *again = json_read_object(first.data, first.len, first.len, &e);
    require(again && json_equal(j, again));
    json_canonical(&second, again);
    require(span_eq(buf_span(&first), buf_span(&second)));
    return 0;
}
