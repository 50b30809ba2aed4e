/* Reads YAML events into a tree that remembers lines, and refuses everything that makes YAML ambiguous. */
#include "base/yaml.h"

#include <libfyaml.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
    char diag[256];
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
    n->line = mark ? (unsigned)mark->line + 1 : 1;
    n->col = mark ? (unsigned)mark->column + 1 : 1;
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

static int scalar(struct builder *b, struct fy_token *value)
{
    struct yaml_node *n = node_new(b, YAML_SCALAR, value);
    size_t len = 0;
    const char *text = fy_token_get_text(value, &len);

    if (!n)
        return -1;
    if (memchr(text ? text : "", '\0', text ? len : 0))
        return yaml_err(b->doc, n, b->e, "a NUL character");
    n->text = strndup(text ? text : "", len);
    n->quoted = fy_token_scalar_style(value) != FYSS_PLAIN;
    return n->text ? attach(b, n) : err_set(b->e, ERR_INTERNAL, "out of memory");
}

static int refuse(struct builder *b, struct fy_token *at, const char *what)
{
    struct yaml_node *n = node_new(b, YAML_SCALAR, at);

    return n ? yaml_err(b->doc, n, b->e, "%s are not used here", what) : -1;
}

static int on_event(struct builder *b, struct fy_event *ev)
{
    switch ((int)ev->type) {
    case FYET_DOCUMENT_START:
        return b->documents++ ? err_set(b->e, b->doc->code, "%s: more than one document", b->doc->name) : 0;
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
    default:
        return 0;
    }
}

/* Keeps the first line that libfyaml says of an error. */
static void on_diag(struct fy_diag *diag, void *user, const char *text, size_t len)
{
    struct builder *b = user;
    size_t have = strlen(b->diag), n = len < sizeof b->diag - 1 - have ? len : sizeof b->diag - 1 - have;

    (void)diag;
    if (!memchr(b->diag, '\n', have))
        memcpy(b->diag + have, text, n);
    b->diag[sizeof b->diag - 1] = '\0';
}

static int syntax_error(struct builder *b)
{
    b->diag[strcspn(b->diag, "\n")] = '\0';
    return err_set(b->e, b->doc->code, "%s:%s", b->doc->name, b->diag[0] ? b->diag : " it is no YAML");
}

static int parse(struct builder *b, struct fy_parser *p)
{
    struct fy_event *ev;
    int failed = 0;

    while (!failed && (ev = fy_parser_parse(p))) {
        failed = on_event(b, ev);
        fy_parser_event_free(p, ev);
    }
    if (failed)
        return -1;
    if (b->diag[0] || b->depth)
        return syntax_error(b);
    return b->doc->root ? 0 : err_set(b->e, b->doc->code, "%s:1:1: it is empty", b->doc->name);
}

struct yaml_doc *yaml_parse(const char *name, struct span text, enum err_code code, struct err *e)
{
    struct yaml_doc *doc = calloc(1, sizeof *doc);
    struct err local = {0};
    struct builder b = {.doc = doc, .e = e ? e : &local};
    struct fy_diag_cfg dc;
    struct fy_parse_cfg pc = {.flags = FYPCF_QUIET};
    struct fy_parser *p = NULL;
    int failed = -1;

    if (!doc)
        return NULL;
    memcpy(doc->name, name, strnlen(name, sizeof doc->name - 1));
    doc->code = code;
    if (text.len > YAML_MAX) {
        err_set(b.e, code, "%s: longer than %u bytes", name, YAML_MAX);
        yaml_free(doc);
        return NULL;
    }
    fy_diag_cfg_default(&dc);
    dc.fp = NULL;
    dc.output_fn = on_diag;
    dc.user = &b;
    dc.colorize = false;
    dc.show_source = dc.show_type = dc.show_module = false;
    dc.show_position = false;
    pc.flags = 0;
    pc.diag = fy_diag_create(&dc);
    p = pc.diag ? fy_parser_create(&pc) : NULL;
    if (p && !fy_parser_set_string(p, text.len ? (const char *)text.data : "", text.len))
        failed = parse(&b, p);
    else
        err_set(b.e, ERR_INTERNAL, "out of memory");
    fy_parser_destroy(p);
    fy_diag_destroy(pc.diag);
    if (!failed)
        return doc;
    yaml_free(doc);
    return NULL;
}
