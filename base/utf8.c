/* Checks that text is well-formed UTF-8. */
#include "base/utf8.h"

#include <string.h>

#include "base/json.h"

/* What a lead byte asks for: length of the sequence and the range of the second byte, which excludes overlong forms, surrogates and code points
 * beyond U+10FFFF. */
struct lead {
    uint8_t first, last, len, low, high;
};
static const struct lead leads[] = {
    {0xc2, 0xdf, 2, 0x80, 0xbf}, {0xe0, 0xe0, 3, 0xa0, 0xbf}, {0xe1, 0xec, 3, 0x80, 0xbf}, {0xed, 0xed, 3, 0x80, 0x9f},
    {0xee, 0xef, 3, 0x80, 0xbf}, {0xf0, 0xf0, 4, 0x90, 0xbf}, {0xf1, 0xf3, 4, 0x80, 0xbf}, {0xf4, 0xf4, 4, 0x80, 0x8f},
};

static const struct lead *lead_find(uint8_t c)
{
    for (size_t i = 0; i < sizeof leads / sizeof leads[0]; i++)
        if (c >= leads[i].first && c <= leads[i].last)
            return &leads[i];
    return NULL;
}

size_t utf8_sequence(const uint8_t *p, size_t left)
{
    if (left == 0)
        return 0;
    if (p[0] < 0x80)
        return 1;
    const struct lead *l = lead_find(p[0]);
    if (!l || left < l->len || p[1] < l->low || p[1] > l->high)
        return 0;
    for (size_t i = 2; i < l->len; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return l->len;
}

int utf8_check(const void *data, size_t len)
{
    const uint8_t *p = data;
    size_t i = 0;

    if (len && memchr(data, 0, len))
        return -1;
    while (i < len) {
        uint64_t eight;
        /* Eight bytes of ASCII at once: most text is nothing else. */
        if (len - i >= sizeof eight && (memcpy(&eight, p + i, sizeof eight), (eight & UINT64_C(0x8080808080808080)) == 0)) {
            i += sizeof eight;
            continue;
        }
        size_t n = utf8_sequence(p + i, len - i);
        if (n == 0)
            return -1;
        i += n;
    }
    return 0;
}
