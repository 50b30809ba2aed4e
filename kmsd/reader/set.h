/* A set of the records of one block, by their place in it. */
#ifndef KMS_READER_SET_H
#define KMS_READER_SET_H

#include "base/buf.h"

#define BLOCK_RECORDS 16384u       /* a record's place in its block is less */

struct set {
    uint64_t word[BLOCK_RECORDS / 64];
};
/* from <= place < upto, nothing else. */
void set_range(struct set *s, unsigned from, unsigned upto);
static inline void set_add(struct set *s, unsigned place)
{
    s->word[place / 64] |= UINT64_C(1) << place % 64;
}
/* Leaves what is in both; false: that is nothing. */
bool set_meet(struct set *s, const struct set *other);
/* The first place from `from` on, or the last before it; -1 = there is none. */
int set_next(const struct set *s, unsigned from);
int set_before(const struct set *s, unsigned from);

/* As bytes: up to SET_LIST_MAX places in rising order, 16 bits each, big-endian; more of them as a bit for each place of the block. */
#define SET_MAP_LEN (BLOCK_RECORDS / 8)
#define SET_LIST_MAX (SET_MAP_LEN / 2 - 1)
void set_map(const struct set *s, struct buf *out);
int set_unpack(struct set *s, struct span bytes) __attribute__((warn_unused_result));

#endif
