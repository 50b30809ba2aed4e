/* An ordered tree of structs whose first member is their name, over the C library's tsearch. */
#ifndef KMS_AUDIT_TREE_H
#define KMS_AUDIT_TREE_H

#include <stdbool.h>

void *tree_find(void *const *root, const char *name);
/* 0, or -1 when memory is out; the node must not be there yet. */
int tree_add(void **root, void *node) __attribute__((warn_unused_result));
void tree_remove(void **root, const void *node);
void tree_free(void **root, void (*free_node)(void *node));
/* In order of name, those after `after` only; each() returns false to stop. */
void tree_each(const void *root, const char *after, bool (*each)(void *ctx, void *node), void *ctx);

#endif
