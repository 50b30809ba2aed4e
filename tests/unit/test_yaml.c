/* Tests of base/yaml.c. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/yaml.h"

static struct yaml_doc *parse(const char *text)
{
    struct err e = {0};
    struct yaml_doc *d = yaml_parse("f.yaml", span_str(text), ERR_BAD_POLICY, &e);

    if (!d)
        fail_msg("%s", e.detail);
    assert_int_equal(e.code, ERR_NONE);
    return d;
}

static void check(const struct yaml_node *n, enum yaml_kind kind, unsigned line, unsigned col, size_t children)
{
    assert_non_null(n);
    assert_int_equal(n->kind, kind);
    assert_int_equal(n->line, line);
    assert_int_equal(n->col, col);
    assert_int_equal(n->n, children);
}

static void tree_with_lines(void **state)
{
    YAML_AUTO *d = parse("# settings\nversion: 1\nlisten: {ci: \"a b\", admin: 'c'}\nlist:\n  - x\n  - y: 2\n    z: |\n      text\nnothing:\n");
    const struct yaml_node *root = yaml_root(d), *list = yaml_get(root, "list");

    (void)state;
    check(root, YAML_MAPPING, 2, 1, 4);
    assert_string_equal(root->key[0]->text, "version");
    check(yaml_get(root, "version"), YAML_SCALAR, 2, 10, 0);
    assert_string_equal(yaml_get(root, "version")->text, "1");
    assert_false(yaml_get(root, "version")->quoted);
    check(yaml_get(root, "listen"), YAML_MAPPING, 3, 9, 2);
    assert_string_equal(yaml_get(yaml_get(root, "listen"), "ci")->text, "a b");
    assert_true(yaml_get(yaml_get(root, "listen"), "ci")->quoted);
    assert_true(yaml_get(yaml_get(root, "listen"), "admin")->quoted);
    check(list, YAML_SEQUENCE, 5, 3, 2);
    check(list->value[0], YAML_SCALAR, 5, 5, 0);
    check(list->value[1], YAML_MAPPING, 6, 5, 2);
    assert_string_equal(yaml_get(list->value[1], "z")->text, "text\n");
    assert_string_equal(yaml_get(root, "nothing")->text, "");
    assert_false(yaml_get(root, "nothing")->quoted);
    assert_int_equal(yaml_get(root, "nothing")->line, 9);
    assert_null(yaml_get(root, "other"));
    assert_null(yaml_get(list, "x"));
    assert_null(yaml_get(NULL, "x"));
}

/* Text, and how the message must begin. */
static const struct {
    const char *text, *detail;
} REFUSED[] = {
    {"", "f.yaml:1:1: it is empty"},
    {"# nothing\n", "f.yaml:1:1: it is empty"},
    {"a: 1\nb: 2\na: 3\n", "f.yaml:3:1: the key a stands twice"},
    {"x:\n  - {a: 1, \"a\": 2}\n", "f.yaml:2:12: the key a stands twice"},
    {"a: &x 1\n", "f.yaml:1:5: anchors"},
    {"a: &x [1]\n", "f.yaml:1:5: anchors"},
    {"a: &x {b: 1}\n", "f.yaml:1:5: anchors"},
    {"a: 1\nb: *a\n", "f.yaml:2:5: aliases"},
    {"*a : 1\n", "f.yaml:1:2: aliases"},
    {"a: !!str 1\n", "f.yaml:1:4: anchors and tags"},
    {"a: ! 1\n", "f.yaml:1:4: anchors and tags"},
    {"a: !x [1]\n", "f.yaml:1:4: anchors and tags"},
    {"!!map\na: 1\n", "f.yaml:1:1: anchors and tags"},
    {"a: 1\n---\nb: 2\n", "f.yaml:2:1: more than one document"},
    {"---\na: 1\n---\n", "f.yaml:3:1: more than one document"},
    {"a: 1\n...\nb: 2\n", "f.yaml:"},
    {"%YAML 1.1\n---\na: 1\n", "f.yaml:2:1: directives"},
    {"%YAML 1.2\n---\na: 1\n", "f.yaml:2:1: directives"},
    {"%TAG ! tag:example.org,2000:\n---\na: 1\n", "f.yaml:2:1: directives"},
    {"%OTHER x\n---\na: 1\n", "f.yaml:1:"},
    {"? [a]\n: 1\n", "f.yaml:1:3: a key must be plain text"},
    {"{{a: 1}: 2}\n", "f.yaml:1:2: a key must be plain text"},
    {"a: [1, 2\n", "f.yaml:2:1: "},
    {"a: 1\n]\n", "f.yaml:2:1: "},
    {"a: 'x\n", "f.yaml:1:5: "},
    {"a: b: c\n", "f.yaml:1:5: "},
    {"a: 1\n  b: 2\n", "f.yaml:1:4: "},
    {"a:\n\t- b\n", "f.yaml:"},
    {"a: @x\n", "f.yaml:1:4: "},
    {"a: \"\\0\"\n", "f.yaml:1:4: a control character"},
    {"a: \"\\x1b[2J\"\n", "f.yaml:1:4: a control character"},
    {"a: \"\\ud800\"\n", "f.yaml:1:5: "},
    {"a: 1\nb\xc3\xa4: \x1b\n", "f.yaml:2:5: a control character"},
    {"a: \xff\xfe\nb: 2\n", "f.yaml:1:4: a control character or text that is not UTF-8"},
    {"a: \xed\xa0\x80\n", "f.yaml:1:4: a control character or text that is not UTF-8"},
    {"a: \xc2\x85x\n", "f.yaml:1:4: a control character"},
    {"a: x\xe2\x80\xae\n", "f.yaml:1:5: a control character"}, /* U+202E turns what follows around */
    {"a: \"\\u2066\"\n", "f.yaml:1:4: a control character"},
    {"a: \"\\L\"\n", "f.yaml:1:4: a control character"},
};

static void refuses_with_file_line_and_column(void **state)
{
    (void)state;
    for (size_t n = 0; n < sizeof REFUSED / sizeof *REFUSED; n++) {
        struct err e = {0};
        struct yaml_doc *d = yaml_parse("f.yaml", span_str(REFUSED[n].text), ERR_BAD_POLICY, &e);

        if (d || strncmp(e.detail, REFUSED[n].detail, strlen(REFUSED[n].detail)) != 0)
            fail_msg("row %zu: \"%s\" instead of \"%s\"", n, d ? "accepted" : e.detail, REFUSED[n].detail);
        assert_null(strstr(e.detail, "memory"));
        assert_int_equal(e.code, ERR_BAD_POLICY);
        assert_null(yaml_parse("f.yaml", span_str(REFUSED[n].text), ERR_BAD_POLICY, NULL));
    }
}

/* Many pieces, and folding. */
static void texts(void **state)
{
    static const char *const rows[][2] = {
        {"'''a'''", "'a'"},
        {"''''''''", "'''"},
        {"'it''s a''b''c''d''e''f''g''h''i''j'", "it's a'b'c'd'e'f'g'h'i'j"},
        {"\"\\n\\t\\\"\\\\\\u00e4\\x41\"", "\n\t\"\\\xc3\xa4" "A"},
        {"\"a\n  b\n\n  c\"", "a b\nc"},
        {"a\n  b\n\n  c", "a b\nc"},
        {"|-\n  a\n   b", "a\n b"},
        {">-\n  a\n  b", "a b"},
        {"''", ""},
    };

    (void)state;
    for (size_t n = 0; n < sizeof rows / sizeof *rows; n++) {
        BUF_AUTO text = BUF_INIT(4096);

        buf_printf(&text, "k: %s\n", rows[n][0]);
        YAML_AUTO *d = parse(buf_str(&text));
        assert_string_equal(yaml_get(yaml_root(d), "k")->text, rows[n][1]);
    }
}

/* What stands behind a NUL must not be left out in silence. */
static void nothing_is_left_out(void **state)
{
    static const char nul[] = "a: 1\n\0b: 2\n", utf16[] = "\xff\xfe" "a\0:\0 \0001\0";
    struct err e = {0};

    (void)state;
    assert_null(yaml_parse("f.yaml", span_of(nul, sizeof nul - 1), ERR_BAD_REQUEST, &e));
    assert_int_equal(e.code, ERR_BAD_REQUEST);
    assert_string_equal(e.detail, "f.yaml:2:1: a control character or text that is not UTF-8");
    assert_null(yaml_parse("f.yaml", span_of(utf16, sizeof utf16 - 1), ERR_BAD_REQUEST, &e));
    assert_null(yaml_parse("f.yaml", span_of(NULL, 0), ERR_BAD_REQUEST, &e));
}

static void accepts(void **state)
{
    static const char *const texts[] = {"a: 1\r\nb: 2\r\n", "---\na: 1\n...\n", "\xef\xbb\xbf" "a: 1\n", "a: J\xc3\xbcrgen\n",
        "- 1\n- [2, {c: d}]\n", "a:\n- b\n", "a: \"\\t\\n\"\n"};

    (void)state;
    for (size_t n = 0; n < sizeof texts / sizeof *texts; n++)
        yaml_free(parse(texts[n]));
}

static struct yaml_doc *nested(size_t levels, struct err *e)
{
    BUF_AUTO b = BUF_INIT(4096);

    for (size_t n = 0; n < levels; n++)
        buf_putc(&b, '[');
    for (size_t n = 0; n < levels; n++)
        buf_putc(&b, ']');
    return yaml_parse("f.yaml", buf_span(&b), ERR_BAD_POLICY, e);
}

static void depth_is_bounded(void **state)
{
    struct err e = {0};
    YAML_AUTO *d = nested(YAML_DEPTH_MAX, &e);

    (void)state;
    assert_non_null(d);
    assert_null(nested(YAML_DEPTH_MAX + 1, &e));
    assert_string_equal(e.detail, "f.yaml:1:17: nested deeper than 16 levels");
    assert_null(nested(1000, &e));
}

static void size_is_bounded(void **state)
{
    BUF_AUTO b = BUF_INIT(YAML_MAX + 2);
    struct err e = {0};
    struct yaml_doc *d;

    (void)state;
    buf_puts(&b, "a: ");
    while (b.len < YAML_MAX - 1)
        buf_putc(&b, 'x');
    buf_putc(&b, '\n');
    d = yaml_parse("f.yaml", buf_span(&b), ERR_BAD_POLICY, &e);
    assert_non_null(d);
    yaml_free(d);
    buf_putc(&b, '\n');
    assert_null(yaml_parse("f.yaml", buf_span(&b), ERR_BAD_POLICY, &e));
    assert_non_null(strstr(e.detail, "longer than"));
}

static void number_of_nodes_is_bounded(void **state)
{
    BUF_AUTO b = BUF_INIT(YAML_MAX);
    struct err e = {0};

    (void)state;
    for (int n = 0; n < 60000; n++)
        buf_puts(&b, n ? "- \n" : "- 1\n");
    assert_int_equal(buf_ok(&b), 0);
    assert_null(yaml_parse("f.yaml", buf_span(&b), ERR_BAD_POLICY, &e));
    assert_non_null(strstr(e.detail, "nodes"));
}

static void errors_of_nodes(void **state)
{
    YAML_AUTO *d = parse("a: 1\nb:\n  c: 2\n");
    struct err e = {0};

    (void)state;
    assert_int_equal(yaml_err(d, yaml_get(yaml_get(yaml_root(d), "b"), "c"), &e, "%s is %d", "it", 7), -1);
    assert_string_equal(e.detail, "f.yaml:3:6: it is 7");
    assert_int_equal(e.code, ERR_BAD_POLICY);
    assert_int_equal(yaml_err(d, NULL, &e, "whole"), -1);
    assert_string_equal(e.detail, "f.yaml:1:1: whole");
    yaml_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tree_with_lines),
        cmocka_unit_test(refuses_with_file_line_and_column),
        cmocka_unit_test(texts),
        cmocka_unit_test(nothing_is_left_out),
        cmocka_unit_test(accepts),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(size_is_bounded),
        cmocka_unit_test(number_of_nodes_is_bounded),
        cmocka_unit_test(errors_of_nodes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
