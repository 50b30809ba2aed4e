/* Text that stands in JSON as it is, looked at eight bytes at a time: ASCII without control characters, quotes and backslashes. */
#ifndef KMS_BASE_PLAIN_H
#define KMS_BASE_PLAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define PLAIN_ONES UINT64_C(0x0101010101010101)
#define PLAIN_HIGHS UINT64_C(0x8080808080808080)

/* Are all eight of that kind? A borrow may only raise a false alarm above a true one. */
static inline bool plain_eight(uint64_t eight)
{
    uint64_t quote = eight ^ (PLAIN_ONES * '"'), backslash = eight ^ (PLAIN_ONES * '\\');

    return (((eight - PLAIN_ONES * 0x20) | (quote - PLAIN_ONES) | (backslash - PLAIN_ONES) | eight) & PLAIN_HIGHS) == 0;
}

static inline bool plain_all(const char *text, size_t len)
{
    size_t i = 0;
    uint64_t eight;

    for (; len - i >= sizeof eight; i += sizeof eight) {
        memcpy(&eight, text + i, sizeof eight);
        if (!plain_eight(eight))
            return false;
    }
    for (; i < len; i++)
        if ((unsigned char)text[i] < 0x20 || (unsigned char)text[i] >= 0x80 || text[i] == '"' || text[i] == '\\')
            return false;
    return true;
}

#endif
