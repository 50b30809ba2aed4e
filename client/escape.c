/* Escapes what a terminal would act on or hide. */
#include "client/escape.h"

/* Ranges of characters that are never printed as they are (C1 controls, Unicode Bidi_Control, line separators, zero width, tags). */
static const struct range {
    uint32_t first, last;
} unsafe[] = {
    {0x00, 0x1f},       {0x7f, 0x9f},       {0xad, 0xad},       {0x61c, 0x61c},       {0x180e, 0x180e},     {0x200b, 0x200f},
    {0x2028, 0x202e},   {0x2060, 0x206f},   {0xfeff, 0xfeff},   {0xfff9, 0xfffb},     {0xe0000, 0xe007f},
};

static bool is_unsafe(uint32_t c)
{
    for (size_t i = 0; i < sizeof(unsafe) / sizeof(unsafe[0]); i++)
        if (c >= unsafe[i].first && c <= unsafe[i].last)
            return true;
    return false;
}

/* Length of the well-formed UTF-8 character at p (1 to 4), 0 when there is none. *c is the character. */
static size_t decode_char(const uint8_t *p, size_t left, uint32_t *c)
{
    size_t len = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0;

    *c = 0;
    if (len == 0 || len > left)
        return 0;
    *c = len == 1 ? p[0] : p[0] & (0x7fu >> len);
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        *c = (*c << 6) | (p[i] & 0x3fu);
    }
    if ((len == 3 && *c < 0x800) || (len == 4 && *c < 0x10000) || *c > 0x10ffff || (*c >= 0xd800 && *c <= 0xdfff))
        return 0;
    return len;
}

static void put_json_escape(struct buf *out, uint32_t c)
{
    if (c >= 0x10000)
        buf_printf(out, "\\u%04x\\u%04x", 0xd800 + ((c - 0x10000) >> 10), 0xdc00 + ((c - 0x10000) & 0x3ff));
    else
        buf_printf(out, "\\u%04x", c);
}

static void put_escape(struct buf *out, uint32_t c, enum escape_mode mode)
{
    if (mode == ESCAPE_JSON)
        put_json_escape(out, c);
    else if (c < 0x80)
        buf_printf(out, "\\x%02x", c);
    else
        buf_printf(out, "\\u{%x}", c);
}

static bool passes(uint32_t c, enum escape_mode mode)
{
    if ((c == '\n' || c == '\t') && mode != ESCAPE_LINE)
        return true;
    return !is_unsafe(c);
}

void escape_text(struct buf *out, struct span text, enum escape_mode mode)
{
    for (size_t i = 0; i < text.len;) {
        uint32_t c;
        size_t n = decode_char(text.data + i, text.len - i, &c);

        if (n == 0 && mode == ESCAPE_JSON)
            buf_puts(out, "\\ufffd");
        else if (n == 0)
            buf_printf(out, "\\x%02x", text.data[i]);
        else if (passes(c, mode))
            buf_put(out, text.data + i, n);
        else
            put_escape(out, c, mode);
        i += n ? n : 1;
    }
}

size_t escape_width(struct span text)
{
    size_t width = 0;

    for (size_t i = 0; i < text.len; i++)
        width += (text.data[i] & 0xc0) != 0x80;
    return width;
}
