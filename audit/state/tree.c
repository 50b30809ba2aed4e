/* The ordered tree that the state keeps its things in. */
#include "audit/state/tree.h"

#include <search.h>
#include <string.h>

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

void *tree_find(void *const *root, const char *name)
{
    void *const *node = tfind(name, root, by_name);

    return node ? *node : NULL;
}

int tree_add(void **root, void *node)
{
    return tsearch(node, root, by_name) ? 0 : -1;
}

void tree_remove(void **root, const void *node)
{
    tdelete(node, root, by_name);
}

void tree_free(void **root, void (*free_node)(void *node))
{
    tdestroy(*root, free_node);
    *root = NULL;
}

struct walk {
    const char *after;
    bool (*each)(void *ctx, void *node);
    void *ctx;
    bool stopped;
};

static void visit(const void *node, VISIT which, void *closure)
{
    struct walk *w = closure;
    void *item = *(void *const *)node;

    if (w->stopped || (which != postorder && which != leaf) || strcmp(item, w->after) <= 0)
        return;
    w->stopped = !w->each(w->ctx, item);
}

void tree_each(const void *root, const char *after, bool (*each)(void *ctx, void *node), void *ctx)
{
    struct walk w = {.after = after, .each = each, .ctx = ctx};

    twalk_r(root, visit, &w);
}
