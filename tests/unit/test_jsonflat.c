/* Small objects read where they stand: what they hold is what the tree holds, whatever is not that easy is left as it was, and both are read alike. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/json.h"

static json_t *value_of(const struct json_flat_member *m)
{
    switch ((int)m->type) {
    case JSON_STRING: return json_stringn(m->text, m->len);
    case JSON_INTEGER: return json_integer(m->number);
    case JSON_TRUE: return json_true();
    case JSON_FALSE: return json_false();
    default: return json_object();
    }
}

static json_t *tree_of(const struct json_flat *f, unsigned within)
{
    json_t *object = json_object();

    for (unsigned n = 0; n < f->n; n++)
        if (f->member[n].within == within)
            assert_int_equal(json_object_set_new(object, f->member[n].name, f->member[n].type == JSON_OBJECT ? tree_of(f, n + 1) : value_of(&f->member[n])), 0);
    return object;
}

/* Exactly as much memory as the text has: whoever looks behind it is found. */
static char *copy_of(const char *text, size_t len)
{
    char *copy = malloc(len + !len);

    assert_non_null(copy);
    memcpy(copy, text, len);
    return copy;
}

static void same_as_the_tree(void **state)
{
    static const struct {
        const char *text;
        bool easy;
    } rows[] = {
        {"{}", true}, {" {\t} \r\n", true}, {"{\"a\":{}}", true}, {"{ \"a\" : \"\" , \"b\":{ \"a\" : true,\"c\":\"12345678\" } ,\"c\":false }", true},
        {"{\"\":\"\xc3\xa4 1234567\",\"n\":0,\"m\":9007199254740991}", true}, {"{\"a\":{\"b\":1},\"b\":{\"a\":2}}", true},
        {"{\"a\":{\"b\":{}}}", false}, {"{\"a\":[]}", false}, {"{\"a\":null}", false}, {"{\"a\":-1}", false}, {"{\"a\":\"\\n\"}", false}, {"{\"a\\n\":1}", false},
        {"{\"a\":1,\"a\":1}", false}, {"{\"a\":{\"b\":1,\"b\":2}}", false}, {"{\"a\":1.5}", false}, {"{\"a\":1e2}", false}, {"{\"a\":01}", false},
        {"{\"a\":9007199254740992}", false}, {"{\"a\":\"\x1f\"}", false}, {"{\"a\":\"\xff\"}", false}, {"{\"a\":\"\xed\xa0\x80\"}", false}, {"{\"a\":tru}", false},
        {"{\"a\":truefalse}", false}, {"{\"a\":1,}", false}, {"{,}", false}, {"{\"a\" 1}", false}, {"{\"a\":}", false}, {"{\"a\":1}}", false}, {"{} {}", false},
        {"{\"a\":1}x", false}, {"[]", false}, {"", false}, {" ", false}, {"{a:1}", false}, {"{\"a\":1 \"b\":2}", false},
        {"{\"a\":0,\"b\":0,\"c\":0,\"d\":0,\"e\":0,\"f\":0,\"g\":0,\"h\":0,\"i\":0,\"j\":0,\"k\":0,\"l\":0,\"m\":0,\"n\":0,\"o\":0,\"p\":0,\"q\":0,\"r\":0,"
         "\"s\":0,\"t\":0,\"u\":0,\"v\":0,\"w\":0,\"x\":0}", true},
        {"{\"a\":0,\"b\":0,\"c\":0,\"d\":0,\"e\":0,\"f\":0,\"g\":0,\"h\":0,\"i\":0,\"j\":0,\"k\":0,\"l\":0,\"m\":0,\"n\":0,\"o\":0,\"p\":0,\"q\":0,\"r\":0,"
         "\"s\":0,\"t\":0,\"u\":0,\"v\":0,\"w\":0,\"x\":{\"y\":0}}", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t len = strlen(rows[i].text);
        char *text = copy_of(rows[i].text, len);
        JSON_AUTO *slow = json_read_object(rows[i].text, len, len, NULL);
        struct json_flat flat;
        bool easy = !json_flat_read(text, len, &flat);

        if (easy != rows[i].easy)
            fail_msg("%s", rows[i].text);
        assert_true(easy || !memcmp(text, rows[i].text, len));
        if (easy) {
            JSON_AUTO *quick = tree_of(&flat, 0);

            assert_true(slow && json_equal(quick, slow));
        }
        free(text);
    }
    char nul[] = "{\"a\":\"b\0c\"}";
    struct json_flat flat;
    assert_int_equal(json_flat_read(nul, sizeof nul - 1, &flat), -1);
}

static void cut_anywhere(void **state)
{
    static const char whole[] = "{\"name\":\"a string of some length\",\"o\":{\"x\":\"y\",\"t\":true},\"last\":123}";

    (void)state;
    for (size_t n = 0; n < sizeof whole - 1; n++) {
        char *text = copy_of(whole, n);
        struct json_flat flat;

        assert_int_equal(json_flat_read(text, n, &flat), -1);
        assert_memory_equal(text, whole, n);
        free(text);
    }
}

/* Both readers begun on the same text. */
struct both {
    char *text;
    json_t *tree;
    struct json_flat flat;
    struct json_reader r[2];
};

static void begin(struct both *b, const char *text)
{
    struct err e = {0};

    b->text = copy_of(text, strlen(text));
    b->tree = json_read_object(text, strlen(text), 4096, &e);
    assert_int_equal(json_flat_read(b->text, strlen(text), &b->flat), 0);
    assert_int_equal(json_begin(&b->r[0], b->tree, "", &e), 0);
    json_begin_flat(&b->r[1], &b->flat);
}

static void end(struct both *b)
{
    json_decref(b->tree);
    free(b->text);
}

static void read_alike(void **state)
{
    struct both b;

    (void)state;
    begin(&b, "{\"s\":\"text\",\"n\":5,\"t\":true,\"o\":{\"s\":\"in\",\"n\":7},\"x\":1}");
    for (unsigned k = 0; k < 2; k++) {
        struct json_reader *r = &b.r[k], in;
        struct err e = {0};
        const char *s = NULL, *none = "x";
        int64_t n = 0, dflt = 0;
        bool t = false, f = true;

        assert_int_equal(json_get_str(r, "s", 4, &s, &e) || json_opt_str(r, "none", 4, &none, &e) || json_get_int(r, "n", 0, 5, &n, &e) ||
                         json_opt_int(r, "none2", 0, 5, 3, &dflt, &e) || json_opt_bool(r, "t", false, &t, &e) || json_opt_bool(r, "none3", false, &f, &e), 0);
        assert_string_equal(s, "text");
        assert_true(!none && n == 5 && dflt == 3 && t && !f);
        assert_int_equal(json_get_within(r, "o", &in, &e), 0);
        assert_int_equal(json_get_str(&in, "s", 2, &s, &e), 0);
        assert_string_equal(s, "in");
        assert_int_equal(json_done(&in, &e), -1);
        assert_string_equal(e.detail, "o.n is not a member this service knows");
        assert_int_equal(e.code, ERR_UNKNOWN_MEMBER);
        assert_int_equal(json_get_int(&in, "n", 0, 9, &n, &e) || json_done(&in, &e), 0);
        assert_int_equal(json_done(r, &e), -1);
        assert_string_equal(e.detail, "x is not a member this service knows");
        assert_int_equal(json_get_int(r, "x", 0, 1, &n, &e) || json_done(r, &e), 0);
    }
    end(&b);
}

static void refused_alike(void **state)
{
    struct both b;

    (void)state;
    begin(&b, "{\"s\":\"text\",\"n\":6,\"t\":true,\"o\":{\"q\":1}}");
    for (unsigned k = 0; k < 2; k++) {
        struct json_reader *r = &b.r[k], in;
        struct err e = {0};
        const char *s = "kept";
        const json_t *list = NULL;
        int64_t n = 77;
        bool t = true;

        assert_true(json_has(r, "n") && json_has(r, "o") && !json_has(r, "q"));
        assert_int_equal(json_get_array(r, "n", 2, &list, &e), -1);
        assert_string_equal(e.detail, "n must be an array");

        assert_int_equal(json_get_str(r, "s", 3, &s, &e), -1);
        assert_string_equal(e.detail, "s has 4 bytes, the limit is 3");
        assert_int_equal(json_get_str(r, "q", 3, &s, &e), -1); /* stands elsewhere */
        assert_string_equal(e.detail, "q is missing");
        assert_int_equal(json_opt_str(r, "n", 3, &s, &e), -1);
        assert_string_equal(e.detail, "n must be a string");
        assert_int_equal(json_get_int(r, "n", 0, 5, &n, &e), -1);
        assert_string_equal(e.detail, "n must be from 0 to 5");
        assert_int_equal(json_opt_int(r, "t", 0, 5, 1, &n, &e), -1);
        assert_string_equal(e.detail, "t must be a whole number");
        assert_int_equal(json_opt_bool(r, "n", false, &t, &e), -1);
        assert_string_equal(e.detail, "n must be true or false");
        assert_int_equal(json_get_within(r, "s", &in, &e), -1);
        assert_string_equal(e.detail, "s must be an object");
        assert_int_equal(json_get_within(r, "z", &in, &e), -1);
        assert_string_equal(e.detail, "z is missing");
        assert_int_equal(json_get_within(r, "o", &in, &e), 0);
        assert_int_equal(json_get_str(&in, "q", 3, &s, &e), -1);
        assert_string_equal(e.detail, "o.q must be a string");
        assert_string_equal(s, "kept");
        assert_int_equal(n, 77);
    }
    end(&b);
}

/* A list is taken where every item is easy; each has the canonical form that the tree gives it. */
static void lists(void **state)
{
    static const struct {
        const char *text;
        size_t easy;
    } rows[] = {
        {"{\"items\":[{}]}", 1}, {" { \"items\" : [ {\"b\":1,\"a\":{\"z\":true,\"y\":\"\xc3\xa4/\x7f\"}} , {} , {\"aa\":0,\"a\":9007199254740991,\"\":false} ] } ", 3},
        {"{\"items\":[{},{},{},{}]}", 0}, {"{\"items\":[]}", 0}, {"{\"items\":[{},]}", 0}, {"{\"items\":[{}]", 0}, {"{\"items\":[{}}", 0}, {"{\"items\":{}}", 0},
        {"{\"items\":[{}],\"x\":1}", 0}, {"{\"items\":[{}]}x", 0}, {"{\"items\":[1]}", 0}, {"{\"items\":[{\"a\":[]}]}", 0}, {"{\"items\":[{} {}]}", 0},
        {"{\"item\":[{}]}", 0}, {"{\"itemsx\":[{}]}", 0}, {"{\"items\":[{\"\xc3\xa4\":1}]}", 0}, {"{\"items\":[{\"a\":\"\xff\"}]}", 0},
        {"{\"items\":[{\"a\":\"\\n\"}]}", 0}, {"{\"items\":[{\"a\":1,\"a\":1}]}", 0}, {"[{}]", 0}, {"{}", 0}, {"{", 0}, {"", 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t len = strlen(rows[i].text), n = 0;
        char *text = copy_of(rows[i].text, len);
        JSON_AUTO *tree = json_read_object(rows[i].text, len, len, NULL);
        struct span item[3];
        bool easy = !json_flat_list(text, len, "items", item, 3, &n);

        assert_memory_equal(text, rows[i].text, len);
        if (easy != (rows[i].easy != 0) || (easy && n != rows[i].easy))
            fail_msg("%s", rows[i].text);
        for (size_t k = 0; easy && k < n; k++) {
            BUF_AUTO quick = BUF_INIT(4096), slow = BUF_INIT(4096);
            struct json_flat flat;

            assert_int_equal(json_flat_read(text + ((const char *)item[k].data - text), item[k].len, &flat), 0);
            json_flat_canonical(&quick, &flat);
            json_canonical(&slow, json_array_get(json_object_get(tree, "items"), k));
            assert_string_equal(buf_str(&quick), buf_str(&slow));
        }
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(same_as_the_tree), cmocka_unit_test(cut_anywhere), cmocka_unit_test(read_alike),
                                       cmocka_unit_test(refused_alike), cmocka_unit_test(lists)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
