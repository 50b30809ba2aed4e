/* The newest records, fewer than BLOCK_RECORDS or just as many, in memory: where they stand, and which of them have a value. */
#ifndef KMS_READER_BLOCK_H
#define KMS_READER_BLOCK_H

#include "kmsd/reader/row.h"
#include "kmsd/reader/set.h"

struct entry {
    struct place place;
    int64_t time;
};
/* A value of a field that records of a block have. */
struct posting {
    enum search_field field;
    struct span text;
    uint32_t value;                /* its number in the block */
};
struct block;
struct block *block_new(void);     /* NULL: no memory */
void block_free(struct block *b);
void block_clear(struct block *b);
unsigned block_count(const struct block *b);
/* -1: no memory, or full. */
int block_add(struct block *b, const struct row *row) __attribute__((warn_unused_result));
const struct entry *block_entry(const struct block *b, unsigned n);
/* The records that have that value. */
void block_having(const struct block *b, enum search_field field, struct span text, struct set *out);
/* All values in order of field and text; the caller frees. NULL: no memory. */
struct posting *block_postings(const struct block *b, unsigned *n);
/* The records that have it, as set_unpack reads them. */
void block_pack(const struct block *b, const struct posting *p, struct buf *out);

#endif
