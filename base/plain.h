/* Text that stands in JSON as it is, looked at eight bytes at a time: ASCII without control characters, quotes and backslashes. */
#ifndef KMS_BASE_PLAIN_H
#define KMS_BASE_PLAIN_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define PLAIN_ONES UINT64_C(0x0101010101010101)
#define PLAIN_HIGHS UINT64_C(0x8080808080808080)

/* The top bit of each byte that is not of that kind, of eight with the first one lowest. A borrow may only raise a false alarm above a true one. */
static inline uint64_t plain_others(uint64_t eight)
{
    uint64_t quote = eight ^ (PLAIN_ONES * '"'), backslash = eight ^ (PLAIN_ONES * '\\');

    return ((eight - PLAIN_ONES * 0x20) | (quote - PLAIN_ONES) | (backslash - PLAIN_ONES) | eight) & PLAIN_HIGHS;
}

/* How many bytes of that kind the text begins with. */
static inline size_t plain_run(const void *text, size_t len)
{
    const uint8_t *p = text;
    size_t i = 0;
    uint64_t eight;

    for (; len - i >= sizeof eight; i += sizeof eight) {
        memcpy(&eight, p + i, sizeof eight);
        eight = plain_others(le64toh(eight));
        if (eight)
            return i + (size_t)__builtin_ctzll(eight) / 8;
    }
    while (i < len && p[i] >= 0x20 && p[i] < 0x80 && p[i] != '"' && p[i] != '\\')
        i++;
    return i;
}

#endif
