/* A hash table from text to anything. */
#ifndef KMS_VERIFY_MAP_H
#define KMS_VERIFY_MAP_H

#include <stddef.h>

/* Zero initialises. The key is copied. */
struct map {
    struct map_slot {
        char *key;
        void *value;
    } *slot;
    size_t size, used;
};
/* NULL when absent. */
void *map_get(const struct map *m, const char *key);
/* The key must be new. -1 when memory is out. */
int map_put(struct map *m, const char *key, void *value) __attribute__((warn_unused_result));
/* The same for a key that may be there: its value is forgotten. */
int map_change(struct map *m, const char *key, void *value) __attribute__((warn_unused_result));
/* free_value may be NULL. */
void map_free(struct map *m, void (*free_value)(void *value));

#endif
