/* Bytes as text: hex, base64, base64url. */
#include "base/enc.h"

#include <string.h>

static const char hex_digits[] = "0123456789abcdef";
static const char b64_std[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char b64_url[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void hex_encode(const void *data, size_t len, char *out)
{
    const uint8_t *p = data;

    for (size_t i = 0; i < len; i++) {
        out[2 * i] = hex_digits[p[i] >> 4];
        out[2 * i + 1] = hex_digits[p[i] & 15];
    }
    out[2 * len] = '\0';
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int hex_decode(const char *text, size_t text_len, uint8_t *out, size_t len)
{
    if (text_len % 2 == 0 && text_len / 2 == len) {
        size_t i = 0;
        for (; i < len; i++) {
            int high = hex_value(text[2 * i]), low = hex_value(text[2 * i + 1]);
            if (high < 0 || low < 0)
                break;
            out[i] = (uint8_t)(high << 4 | low);
        }
        if (i == len)
            return 0;
    }
    explicit_bzero(out, len);
    return -1;
}

/* 4 characters for 3 bytes; the last group carries `n` = 1 or 2 bytes in n + 1 characters. */
static void encode(struct buf *out, const uint8_t *p, size_t len, const char *alphabet, bool pad)
{
    size_t rest = len % 3, size = len / 3 * 4 + (rest == 0 ? 0 : pad ? 4 : rest + 1);
    uint8_t *to = len > SIZE_MAX / 2 ? NULL : buf_room(out, size);

    if (!to) {
        out->failed = true;
        return;
    }
    for (; len >= 3; p += 3, len -= 3) {
        uint32_t v = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
        *to++ = (uint8_t)alphabet[v >> 18];
        *to++ = (uint8_t)alphabet[v >> 12 & 63];
        *to++ = (uint8_t)alphabet[v >> 6 & 63];
        *to++ = (uint8_t)alphabet[v & 63];
    }
    if (rest) {
        uint32_t v = (uint32_t)p[0] << 16 | (rest == 2 ? (uint32_t)p[1] << 8 : 0);
        uint8_t last[4] = {(uint8_t)alphabet[v >> 18], (uint8_t)alphabet[v >> 12 & 63], '=', '='};
        if (rest == 2)
            last[2] = (uint8_t)alphabet[v >> 6 & 63];
        memcpy(to, last, pad ? 4 : rest + 1);
    }
    out->len += size;
}

void b64_encode(struct buf *out, const void *data, size_t len)
{
    encode(out, data, len, b64_std, true);
}

void b64url_encode(struct buf *out, const void *data, size_t len)
{
    encode(out, data, len, b64_url, false);
}

static int b64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* One group of four of which the last `pad` are '='. */
static int decode_group(const char *text, size_t pad, uint8_t out[static 3])
{
    uint32_t v = 0;

    for (size_t i = 0; i < 4; i++) {
        int digit = i < 4 - pad ? b64_value(text[i]) : 0;
        if (digit < 0)
            return -1;
        v = v << 6 | (uint32_t)digit;
    }
    out[0] = (uint8_t)(v >> 16);
    out[1] = (uint8_t)(v >> 8);
    out[2] = (uint8_t)v;
    /* Bits that no byte uses must be zero, else several texts would mean the same bytes. */
    return (pad >= 1 && out[2]) || (pad == 2 && out[1]) ? -1 : 0;
}

int b64_decode(struct buf *out, const char *text, size_t len)
{
    if (len % 4)
        return -1;
    if (len == 0)
        return buf_ok(out);
    size_t pad = text[len - 1] != '=' ? 0 : text[len - 2] != '=' ? 1 : 2, size = len / 4 * 3 - pad;
    uint8_t *to = buf_room(out, size);
    if (!to)
        return -1;
    for (size_t i = 0, done = 0; i < len; i += 4, done += 3) {
        uint8_t three[3];
        size_t last_pad = i + 4 == len ? pad : 0;
        if (decode_group(text + i, last_pad, three)) {
            explicit_bzero(to, size);
            return -1;
        }
        memcpy(to + done, three, 3 - last_pad);
    }
    out->len += size;
    return 0;
}
