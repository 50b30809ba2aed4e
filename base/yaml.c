/* Reads YAML events into a tree that remembers lines, and refuses everything that makes YAML ambiguous. */
#include "base/yaml.h"

#include <libfyaml.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

#define YAML_NODES_MAX 20000

struct yaml_doc {
    char name[256];
    enum err_code code;
    struct yaml_node *root;
    struct yaml_node *all[YAML_NODES_MAX];
    unsigned n_all;
};

struct frame_of {
    struct yaml_node *node;
    struct yaml_node *key;
};
struct builder {
    struct yaml_doc *doc;
    struct err *e;
    struct frame_of open[YAML_DEPTH_MAX];
    unsigned depth;
    unsigned documents;
    unsigned line, col; /* of the last node: an empty value has no token of its own */
    bool ended;
};

static void node_free(struct yaml_node *n)
{
    free((void *)(uintptr_t)n->text);
    free(n->key);
    free(n->value);
    free(n);
}

void yaml_free(struct yaml_doc *d)
{
    if (!d)
        return;
    for (unsigned n = 0; n < d->n_all; n++)
        node_free(d->all[n]);
    free(d);
}

void yaml_auto_free(struct yaml_doc **d)
{
    yaml_free(*d);
}

const struct yaml_node *yaml_root(const struct yaml_doc *d)
{
    return d->root;
}

int yaml_err(const struct yaml_doc *d, const struct yaml_node *n, struct err *e, const char *fmt, ...)
{
    BUF_AUTO text = BUF_INIT(1024);
    char part[ERR_DETAIL_MAX];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(part, sizeof part, fmt, ap);
    va_end(ap);
    buf_printf(&text, "%s:%u:%u: %s", d->name, n ? n->line : 1, n ? n->col : 1, part);
    return err_set(e, d->code, "%s", buf_str(&text));
}

const struct yaml_node *yaml_get(const struct yaml_node *mapping, const char *key)
{
    for (size_t n = 0; mapping && mapping->kind == YAML_MAPPING && n < mapping->n; n++)
        if (!strcmp(mapping->key[n]->text, key))
            return mapping->value[n];
    return NULL;
}

static struct yaml_node *node_new(struct builder *b, enum yaml_kind kind, struct fy_token *at)
{
    const struct fy_mark *mark = at ? fy_token_start_mark(at) : NULL;
    struct yaml_node *n = b->doc->n_all < YAML_NODES_MAX ? calloc(1, sizeof *n) : NULL;

    if (!n) {
        err_set(b->e, b->doc->code, "%s: more than %d nodes", b->doc->name, YAML_NODES_MAX);
        return NULL;
    }
    n->kind = kind;
    if (mark) {
        b->line = (unsigned)mark->line + 1;
        b->col = (unsigned)mark->column + 1;
    }
    n->line = b->line;
    n->col = b->col;
    b->doc->all[b->doc->n_all++] = n;
    return n;
}

/* Room for one more child; grows by powers of two. */
static int grow(struct yaml_node *n)
{
    void *keys, *values;

    if (n->n & (n->n - 1) || (n->n && n->n < 4))
        return 0;
    size_t cap = n->n ? 2 * n->n : 4;

    values = realloc(n->value, cap * sizeof *n->value);
    if (!values)
        return -1;
    n->value = values;
    keys = realloc(n->key, cap * sizeof *n->key);
    if (!keys)
        return -1;
    n->key = keys;
    return 0;
}

static int add_key(struct builder *b, struct frame_of *top, struct yaml_node *key)
{
    if (key->kind != YAML_SCALAR)
        return yaml_err(b->doc, key, b->e, "a key must be plain text");
    if (yaml_get(top->node, key->text))
        return yaml_err(b->doc, key, b->e, "the key %s stands twice", key->text);
    top->key = key;
    return 0;
}

static int attach(struct builder *b, struct yaml_node *n)
{
    struct frame_of *top = b->depth ? &b->open[b->depth - 1] : NULL;

    if (!top) {
        b->doc->root = n;
        return 0;
    }
    if (top->node->kind == YAML_MAPPING && !top->key)
        return add_key(b, top, n);
    if (grow(top->node))
        return err_set(b->e, ERR_INTERNAL, "out of memory");
    top->node->key[top->node->n] = top->key;
    top->node->value[top->node->n++] = n;
    top->key = NULL;
    return 0;
}

static int open_node(struct builder *b, enum yaml_kind kind, struct fy_token *at)
{
    struct yaml_node *n = node_new(b, kind, at);

    if (!n)
        return -1;
    if (b->depth == YAML_DEPTH_MAX)
        return yaml_err(b->doc, n, b->e, "nested deeper than %d levels", YAML_DEPTH_MAX);
    if (b->depth && b->open[b->depth - 1].node->kind == YAML_MAPPING && !b->open[b->depth - 1].key)
        return yaml_err(b->doc, n, b->e, "a key must be plain text");
    if (attach(b, n))
        return -1;
    b->open[b->depth++] = (struct frame_of){.node = n};
    return 0;
}

/* U+2028 to U+202E and U+2066 to U+2069: line ends that only some readers see, and what turns text around on a screen. */
static bool is_invisible(const uint8_t *p, size_t n)
{
    return n == 3 && p[0] == 0xe2 && ((p[1] == 0x80 && p[2] >= 0xa8 && p[2] <= 0xae) || (p[1] == 0x81 && p[2] >= 0xa6 && p[2] <= 0xa9));
}

/* How much of the text is well-formed UTF-8 without control characters other than tab and line ends. */
static size_t clean_length(const uint8_t *p, size_t len)
{
    size_t at = 0;

    while (at < len) {
        size_t n = utf8_sequence(p + at, len - at);

        if (!n || is_invisible(p + at, n) || (utf8_is_control(p + at, n) && p[at] != '\t' && p[at] != '\n' && p[at] != '\r'))
            break;
        at += n;
    }
    return at;
}

static int scalar(struct builder *b, struct fy_token *value)
{
    struct yaml_node *n = node_new(b, YAML_SCALAR, value);
    size_t len = 0;
    /* Not fy_token_iter_read: in libfyaml 0.7 it garbles every text of more than one piece. */
    const char *text = value ? fy_token_get_text(value, &len) : "";
    enum fy_scalar_style style;

    if (!n)
        return -1;
    if (!text)
        return err_set(b->e, ERR_INTERNAL, "out of memory");
    style = value ? fy_token_scalar_style(value) : FYSS_PLAIN;
    n->quoted = style != FYSS_PLAIN;
    if (style == FYSS_SINGLE_QUOTED || style == FYSS_DOUBLE_QUOTED)
        n->col--; /* the mark is behind the quote */
    if (clean_length((const uint8_t *)text, len) != len) /* an escape can write what the text itself may not hold */
        return yaml_err(b->doc, n, b->e, "a control character or text that is not UTF-8");
    n->text = strndup(text, len);
    return n->text ? attach(b, n) : err_set(b->e, ERR_INTERNAL, "out of memory");
}

static int refuse(struct builder *b, struct fy_token *at, const char *what)
{
    struct yaml_node *n = node_new(b, YAML_SCALAR, at);

    return n ? yaml_err(b->doc, n, b->e, "%s are not used here", what) : -1;
}

/* A directive could change how everything behind it is read; a second document could be read by one tool and missed by another. */
static int on_document(struct builder *b, struct fy_event *ev)
{
    struct fy_document_state *state = ev->document_start.document_state;
    struct yaml_node *n;

    if (!b->documents++ && !fy_document_state_version_explicit(state) && !fy_document_state_tags_explicit(state))
        return 0;
    n = node_new(b, YAML_SCALAR, ev->document_start.document_start);
    return n ? yaml_err(b->doc, n, b->e, "%s", b->documents > 1 ? "more than one document" : "directives are not used here") : -1;
}

static int on_event(struct builder *b, struct fy_event *ev)
{
    switch ((int)ev->type) {
    case FYET_DOCUMENT_START:
        return on_document(b, ev);
    case FYET_ALIAS:
        return refuse(b, ev->alias.anchor, "aliases");
    case FYET_SCALAR:
        if (ev->scalar.anchor || ev->scalar.tag)
            return refuse(b, ev->scalar.anchor ? ev->scalar.anchor : ev->scalar.tag, "anchors and tags");
        return scalar(b, ev->scalar.value);
    case FYET_MAPPING_START:
        if (ev->mapping_start.anchor || ev->mapping_start.tag)
            return refuse(b, ev->mapping_start.anchor ? ev->mapping_start.anchor : ev->mapping_start.tag, "anchors and tags");
        return open_node(b, YAML_MAPPING, ev->mapping_start.mapping_start);
    case FYET_SEQUENCE_START:
        if (ev->sequence_start.anchor || ev->sequence_start.tag)
            return refuse(b, ev->sequence_start.anchor ? ev->sequence_start.anchor : ev->sequence_start.tag, "anchors and tags");
        return open_node(b, YAML_SEQUENCE, ev->sequence_start.sequence_start);
    case FYET_MAPPING_END:
    case FYET_SEQUENCE_END:
        b->depth--;
        return 0;
    case FYET_STREAM_END:
        b->ended = true;
        return 0;
    default:
        return 0;
    }
}

/* The first thing that libfyaml had to say: one sentence with its place. */
static int syntax_error(struct builder *b, struct fy_diag *diag)
{
    void *at = NULL;
    const struct fy_diag_error *first = fy_diag_errors_iterate(diag, &at);

    if (!first || !first->msg)
        return err_set(b->e, b->doc->code, "%s:%u:%u: it does not parse as YAML", b->doc->name, b->line, b->col);
    return err_set(b->e, b->doc->code, "%s:%d:%d: %s", b->doc->name, first->line, first->column, first->msg);
}

/* Whatever stops the events before the end of the stream is an error, also when libfyaml does not say what it was. */
static int parse(struct builder *b, struct fy_parser *p, struct fy_diag *diag)
{
    struct fy_event *ev;
    void *at = NULL;
    int failed = 0;

    while (!failed && (ev = fy_parser_parse(p))) {
        failed = on_event(b, ev);
        fy_parser_event_free(p, ev);
    }
    if (failed)
        return -1;
    if (!b->ended || b->depth || fy_parser_get_stream_error(p) || fy_diag_errors_iterate(diag, &at))
        return syntax_error(b, diag);
    return b->doc->root ? 0 : err_set(b->e, b->doc->code, "%s:1:1: it is empty", b->doc->name);
}

/* libfyaml ends quietly at a NUL or a malformed sequence and would leave out what follows. */
static int check_text(struct builder *b, struct span text)
{
    size_t good;
    struct yaml_node at = {.line = 1, .col = 1};

    if (text.len > YAML_MAX)
        return err_set(b->e, b->doc->code, "%s: longer than %u bytes", b->doc->name, YAML_MAX);
    good = clean_length(text.data, text.len);
    if (good == text.len)
        return 0;
    for (size_t n = 0; n < good; n++) {
        if (text.data[n] == '\n') {
            at.line++;
            at.col = 1;
        } else if ((text.data[n] & 0xc0) != 0x80) {
            at.col++;
        }
    }
    return yaml_err(b->doc, &at, b->e, "a control character or text that is not UTF-8");
}

/* Errors are collected instead of printed: libfyaml must not write to stderr. */
static struct fy_diag *quiet_diag(void)
{
    struct fy_diag_cfg cfg;
    struct fy_diag *diag;

    fy_diag_cfg_default(&cfg);
    cfg.fp = NULL;
    cfg.colorize = false;
    diag = fy_diag_create(&cfg);
    if (diag)
        fy_diag_set_collect_errors(diag, true);
    return diag;
}

static int read_text(struct builder *b, struct span text)
{
    struct fy_parse_cfg cfg = {.diag = quiet_diag()};
    struct fy_parser *p = cfg.diag ? fy_parser_create(&cfg) : NULL;
    int failed;

    if (p && !fy_parser_set_string(p, text.len ? (const char *)text.data : "", text.len))
        failed = parse(b, p, cfg.diag);
    else
        failed = err_set(b->e, ERR_INTERNAL, "out of memory");
    fy_parser_destroy(p);
    fy_diag_destroy(cfg.diag);
    return failed;
}

struct yaml_doc *yaml_parse(const char *name, struct span text, enum err_code code, struct err *e)
{
    struct yaml_doc *doc = calloc(1, sizeof *doc);
    struct builder b = {.doc = doc, .e = e, .line = 1, .col = 1};

    if (!doc) {
        err_set(e, ERR_INTERNAL, "out of memory");
        return NULL;
    }
    memcpy(doc->name, name, strnlen(name, sizeof doc->name - 1));
    doc->code = code;
    if (!check_text(&b, text) && !read_text(&b, text))
        return doc;
    yaml_free(doc);
    return NULL;
}
