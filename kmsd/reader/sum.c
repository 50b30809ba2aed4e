/* The checksum of a block. */
#include <string.h>

#include "kmsd/reader/store.h"

#define PIECE (64u << 10)
#define LONGEST 4096u              /* what we write is shorter */
_Static_assert(LONGEST > SET_MAP_LEN && LONGEST > SEARCH_TEXT_MAX, "each value whole");

void sum_begin(struct sum *s)
{
    *s = (struct sum){.in = BUF_INIT(2 * PIECE)};
}

static void fold(struct sum *s)
{
    buf_put(&s->in, s->value, sizeof s->value);
    sha256(s->in.data, s->in.len, s->value);
    s->in.len = 0;
}

static void put(struct sum *s, struct span bytes)
{
    buf_u32(&s->in, (uint32_t)bytes.len);
    buf_put(&s->in, bytes.data, bytes.len < LONGEST ? bytes.len : LONGEST); /* of damage its length will do: it must not look like a want of memory */
    if (s->in.len >= PIECE)
        fold(s);
}

void sum_record(struct sum *s, const struct entry *r)
{
    buf_u64(&s->in, r->place.seq);
    buf_u64(&s->in, (uint64_t)r->time);
    buf_u64(&s->in, r->place.segment);
    buf_u64(&s->in, r->place.offset);
    buf_u64(&s->in, r->place.length);
    put(s, span_of(r->place.hash, SHA256_LEN));
}

void sum_posting(struct sum *s, unsigned field, struct span text, struct span records)
{
    buf_u32(&s->in, field);
    put(s, text);
    put(s, records);
}

int sum_end(struct sum *s)
{
    int failed = buf_ok(&s->in);

    if (!failed)
        fold(s);
    buf_free(&s->in);
    return failed;
}
