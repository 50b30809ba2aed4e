/* Text from a log made harmless for a terminal. */
#include "audit/verify/printable.h"

#include "base/utf8.h"

/* Ranges of code points that change how the text around them is shown, or show nothing themselves. */
static const struct {
    uint32_t first, last;
} HIDDEN[] = {
    {0x00, 0x1f},     {0x7f, 0x9f},     {0xad, 0xad},     {0x061c, 0x061c}, {0x115f, 0x1160},   {0x180e, 0x180e},   {0x200b, 0x200f},
    {0x2028, 0x202e}, {0x2060, 0x206f}, {0xfe00, 0xfe0f}, {0xfeff, 0xfeff}, {0xfff9, 0xfffb},   {0xe0000, 0xe0fff},
};

static uint32_t code_point(const uint8_t *p, size_t n)
{
    static const uint8_t mask[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t c = p[0] & mask[n];

    for (size_t i = 1; i < n; i++)
        c = c << 6 | (p[i] & 0x3f);
    return c;
}

static bool is_hidden(uint32_t c)
{
    for (size_t i = 0; i < sizeof HIDDEN / sizeof *HIDDEN; i++)
        if (c >= HIDDEN[i].first && c <= HIDDEN[i].last)
            return true;
    return false;
}

void printable_put(struct buf *out, const char *text, size_t len)
{
    const uint8_t *p = (const uint8_t *)text;
    size_t n;

    for (size_t i = 0; i < len; i += n) {
        n = utf8_sequence(p + i, len - i);
        if (!n) {
            buf_printf(out, "\\x%02x", p[i]);
            n = 1;
        } else if (is_hidden(code_point(p + i, n))) {
            buf_printf(out, "\\u{%x}", (unsigned)code_point(p + i, n));
        } else {
            buf_put(out, p + i, n);
        }
    }
}
