/* Fuzzes the YAML reader: no crash, every message has its place, and the tree keeps what the header promises. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void);

/* fy_token_get_text of libfyaml 0.7.12 loses what it allocates for quoted text of many pieces; what our own code allocates is still reported. */
const char *__lsan_default_suppressions(void)
{
    return "leak:libfyaml.so\n";
}

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void check_node(const struct yaml_node *n, unsigned depth)
{
    require(n && n->line >= 1 && n->col >= 1 && depth <= YAML_DEPTH_MAX + 1);
    if (n->kind == YAML_SCALAR) {
        require(n->text && n->n == 0 && utf8_check(n->text, strlen(n->text)) == 0);
        return;
    }
    for (size_t i = 0; i < n->n; i++) {
        if (n->kind == YAML_MAPPING) {
            check_node(n->key[i], depth + 1);
            require(n->key[i]->kind == YAML_SCALAR && yaml_get(n, n->key[i]->text) == n->value[i]); /* no key stands twice */
        }
        check_node(n->value[i], depth + 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err e = {0};
    YAML_AUTO *d = yaml_parse("f", span_of(data, size), ERR_BAD_POLICY, &e);

    require((d == NULL) == (e.code != ERR_NONE));
    if (!d) {
        require(strncmp(e.detail, "f:", 2) == 0 && (e.detail[2] == ' ' || (e.detail[2] >= '1' && e.detail[2] <= '9'))); /* the whole or a line */
        return 0;
    }
    require(utf8_check(data, size) == 0 && size <= YAML_MAX);
    check_node(yaml_root(d), 1);
    return 0;
}
