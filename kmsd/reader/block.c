/* Collects records in memory. */
#include "kmsd/reader/block.h"

#include <stdlib.h>
#include <string.h>

#define VALUES_MAX (BLOCK_RECORDS * SEARCH_FIELD_COUNT)
#define SLOTS (1u << 18)           /* of the hash table; always more than VALUES_MAX */
#define NONE UINT16_MAX

/* Values stand one after the other; which records have one is a chain through `next` of its field. */
struct value {
    uint32_t hash, text;           /* text: where it begins in texts */
    uint16_t first, last, count;
    uint8_t field, len;
};
struct block {
    unsigned n;
    unsigned n_values;
    struct buf texts;
    struct entry entry[BLOCK_RECORDS];
    uint16_t next[SEARCH_FIELD_COUNT][BLOCK_RECORDS];
    uint32_t slot[SLOTS];          /* number of a value, from 1; 0 = empty */
    struct value value[VALUES_MAX]; /* memory is used as far as it is written */
};
_Static_assert(SLOTS > VALUES_MAX + VALUES_MAX / 2, "a look-up ends soon");

struct block *block_new(void)
{
    struct block *b = calloc(1, sizeof *b);

    if (b)
        b->texts = BUF_INIT((size_t)VALUES_MAX * SEARCH_TEXT_MAX);
    return b;
}

void block_free(struct block *b)
{
    if (b)
        buf_free(&b->texts);
    free(b);
}

void block_clear(struct block *b)
{
    b->n = b->n_values = 0;
    buf_clear(&b->texts);
    memset(b->slot, 0, sizeof b->slot);
}

unsigned block_count(const struct block *b)
{
    return b->n;
}

const struct entry *block_entry(const struct block *b, unsigned n)
{
    return &b->entry[n];
}

/* FNV-1a; whoever finds collisions makes a look-up slower, no more. */
static uint32_t hash_of(enum search_field field, struct span text)
{
    uint32_t h = 2166136261u ^ field;

    for (size_t n = 0; n < text.len; n++)
        h = (h ^ text.data[n]) * 16777619u;
    return h ^ h >> 15;
}

static struct span text_of(const struct block *b, const struct value *v)
{
    return span_of(b->texts.data + v->text, v->len);
}

/* Its slot, or the empty one that it belongs in. */
static unsigned look_up(const struct block *b, enum search_field field, struct span text, uint32_t hash)
{
    unsigned n = hash % SLOTS;

    for (; b->slot[n]; n = (n + 1) % SLOTS) {
        const struct value *v = &b->value[b->slot[n] - 1];

        if (v->hash == hash && v->field == field && span_eq(text_of(b, v), text))
            break;
    }
    return n;
}

static int add_value(struct block *b, enum search_field field, struct span text)
{
    uint16_t at = (uint16_t)b->n;
    uint32_t hash = hash_of(field, text);
    unsigned n = look_up(b, field, text, hash);
    struct value *v;

    if (b->slot[n]) {
        v = &b->value[b->slot[n] - 1];
        b->next[field][v->last] = at;
    } else {
        v = &b->value[b->n_values];
        *v = (struct value){.hash = hash, .text = (uint32_t)b->texts.len, .first = at, .field = (uint8_t)field, .len = (uint8_t)text.len};
        buf_put(&b->texts, text.data, text.len);
        if (buf_ok(&b->texts))
            return -1;
        b->slot[n] = ++b->n_values;
    }
    v->last = at;
    v->count++;
    b->next[field][at] = NONE;
    return 0;
}

int block_add(struct block *b, const struct row *row)
{
    if (b->n == BLOCK_RECORDS)
        return -1;
    for (unsigned n = 0; n < SEARCH_FIELD_COUNT; n++)
        if (row->field[n].data && add_value(b, (enum search_field)n, row->field[n]))
            return -1;
    b->entry[b->n++] = (struct entry){row->place, row->time};
    return 0;
}

static void chain(const struct block *b, const struct value *v, struct set *out)
{
    for (uint16_t at = v->first; at != NONE; at = b->next[v->field][at])
        set_add(out, at);
}

void block_having(const struct block *b, enum search_field field, struct span text, struct set *out)
{
    uint32_t number = b->slot[look_up(b, field, text, hash_of(field, text))];

    set_range(out, 0, 0);
    if (number)
        chain(b, &b->value[number - 1], out);
}

static int before(const void *left, const void *right)
{
    const struct posting *a = left, *b = right;
    size_t common = a->text.len < b->text.len ? a->text.len : b->text.len;
    int way = a->field != b->field ? (a->field > b->field) - (a->field < b->field) : memcmp(a->text.data, b->text.data, common);

    return way ? way : (a->text.len > b->text.len) - (a->text.len < b->text.len);
}

struct posting *block_postings(const struct block *b, unsigned *n)
{
    struct posting *list = calloc(b->n_values + 1, sizeof *list);

    *n = b->n_values;
    for (unsigned i = 0; list && i < b->n_values; i++)
        list[i] = (struct posting){(enum search_field)b->value[i].field, text_of(b, &b->value[i]), i};
    if (list)
        qsort(list, b->n_values, sizeof *list, before);
    return list;
}

void block_pack(const struct block *b, const struct posting *p, struct buf *out)
{
    const struct value *v = &b->value[p->value];
    struct set all = {0};

    if (v->count > SET_LIST_MAX) {
        chain(b, v, &all);
        set_map(&all, out);
        return;
    }
    for (uint16_t at = v->first; at != NONE; at = b->next[v->field][at]) {
        buf_putc(out, (uint8_t)(at >> 8));
        buf_putc(out, (uint8_t)at);
    }
}
