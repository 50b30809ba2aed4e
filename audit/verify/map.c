/* A hash table from text to anything: open addressing, at most three quarters full. */
#include "audit/verify/map.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define SIZE_FIRST 64

/* FNV-1a. A log that makes its names collide only makes its own check slow. */
static uint64_t hash_of(const char *key)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);

    for (; *key; key++)
        h = (h ^ (uint8_t)*key) * UINT64_C(0x100000001b3);
    return h ^ (h >> 29);
}

static struct map_slot *slot_of(const struct map *m, const char *key)
{
    size_t i = (size_t)hash_of(key) & (m->size - 1);

    while (m->slot[i].key && strcmp(m->slot[i].key, key))
        i = (i + 1) & (m->size - 1);
    return &m->slot[i];
}

void *map_get(const struct map *m, const char *key)
{
    return m->size ? slot_of(m, key)->value : NULL;
}

static int grow(struct map *m)
{
    struct map bigger = {.size = m->size ? 2 * m->size : SIZE_FIRST, .used = m->used};

    bigger.slot = calloc(bigger.size, sizeof *bigger.slot);
    if (!bigger.slot)
        return -1;
    for (size_t i = 0; i < m->size; i++)
        if (m->slot[i].key)
            *slot_of(&bigger, m->slot[i].key) = m->slot[i];
    free(m->slot);
    *m = bigger;
    return 0;
}

int map_put(struct map *m, const char *key, void *value)
{
    struct map_slot s = {.key = strdup(key), .value = value};

    if (!s.key || (4 * (m->used + 1) > 3 * m->size && grow(m))) {
        free(s.key);
        return -1;
    }
    *slot_of(m, key) = s;
    m->used++;
    return 0;
}

int map_change(struct map *m, const char *key, void *value)
{
    if (!map_get(m, key))
        return map_put(m, key, value);
    slot_of(m, key)->value = value;
    return 0;
}

void map_free(struct map *m, void (*free_value)(void *value))
{
    for (size_t i = 0; i < m->size; i++) {
        if (m->slot[i].key && free_value)
            free_value(m->slot[i].value);
        free(m->slot[i].key);
    }
    free(m->slot);
    *m = (struct map){0};
}
