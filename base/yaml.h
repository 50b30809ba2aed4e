/* Strict YAML 1.2 into a tree that remembers lines: no anchors, aliases, tags, duplicate keys or several documents; the only file that includes libfyaml. */
#ifndef KMS_BASE_YAML_H
#define KMS_BASE_YAML_H

#include "base/buf.h"
#include "base/err.h"

#define YAML_MAX (256u << 10)
#define YAML_DEPTH_MAX 16

enum yaml_kind { YAML_SCALAR, YAML_SEQUENCE, YAML_MAPPING };
struct yaml_node {
    enum yaml_kind kind;
    unsigned line, col;              /* from 1 */
    const char *text;                /* scalar: its text; quoted or not is kept in `quoted` */
    bool quoted;
    size_t n;                        /* children */
    struct yaml_node **key;          /* mapping: scalar keys */
    struct yaml_node **value;        /* mapping values, sequence items */
};
struct yaml_doc;
/* `name` is for messages: "name:line:col: ...". The error code is `code` (e.g. ERR_BAD_POLICY). Free with yaml_free. */
struct yaml_doc *yaml_parse(const char *name, struct span text, enum err_code code, struct err *e);
void yaml_free(struct yaml_doc *d);
#define YAML_AUTO __attribute__((cleanup(yaml_auto_free))) struct yaml_doc
void yaml_auto_free(struct yaml_doc **d);
const struct yaml_node *yaml_root(const struct yaml_doc *d);
/* err_set with "name:line:col: " of that node in front. */
int yaml_err(const struct yaml_doc *d, const struct yaml_node *n, struct err *e, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
const struct yaml_node *yaml_get(const struct yaml_node *mapping, const char *key); /* NULL when absent */

#endif
