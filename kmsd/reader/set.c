/* Sets of records. */
#include "kmsd/reader/set.h"

#include <string.h>

#define WORDS (BLOCK_RECORDS / 64)

void set_range(struct set *s, unsigned from, unsigned upto)
{
    memset(s, 0, sizeof *s);
    for (unsigned n = from; n < upto;) {
        if (n % 64 || upto - n < 64) {
            set_add(s, n++);
        } else {
            s->word[n / 64] = UINT64_MAX;
            n += 64;
        }
    }
}

bool set_meet(struct set *s, const struct set *other)
{
    uint64_t any = 0;

    for (unsigned n = 0; n < WORDS; n++)
        any |= s->word[n] &= other->word[n];
    return any;
}

int set_next(const struct set *s, unsigned from)
{
    for (unsigned n = from / 64; n < WORDS; n++) {
        uint64_t w = s->word[n] & (n == from / 64 ? UINT64_MAX << from % 64 : UINT64_MAX);

        if (w)
            return (int)n * 64 + __builtin_ctzll(w);
    }
    return -1;
}

int set_before(const struct set *s, unsigned from)
{
    for (unsigned n = (from + 63) / 64; n-- > 0;) {
        uint64_t w = s->word[n] & (n == from / 64 ? (UINT64_C(1) << from % 64) - 1 : UINT64_MAX);

        if (w)
            return (int)n * 64 + 63 - __builtin_clzll(w);
    }
    return -1;
}

void set_map(const struct set *s, struct buf *out)
{
    for (unsigned n = 0; n < WORDS; n++)
        buf_u64(out, s->word[n]);
}

static void unpack_map(struct set *s, const uint8_t *p)
{
    for (unsigned n = 0; n < WORDS; n++)
        for (unsigned i = 0; i < 8; i++)
            s->word[n] = s->word[n] << 8 | *p++;
}

int set_unpack(struct set *s, struct span bytes)
{
    int last = -1;

    memset(s, 0, sizeof *s);
    if (bytes.len == SET_MAP_LEN) {
        unpack_map(s, bytes.data);
        return 0;
    }
    if (!bytes.len || bytes.len % 2 || bytes.len > 2 * SET_LIST_MAX)
        return -1;
    for (size_t i = 0; i < bytes.len; i += 2) {
        int at = bytes.data[i] << 8 | bytes.data[i + 1];

        if (at <= last || at >= (int)BLOCK_RECORDS)
            return -1;
        set_add(s, (unsigned)at);
        last = at;
    }
    return 0;
}
