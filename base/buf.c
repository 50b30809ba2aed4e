/* A byte buffer with a hard maximum. */
#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUF_FIRST 256 /* smallest allocation */

void buf_free(struct buf *b)
{
    free(b->data);
    *b = (struct buf){0};
}

void buf_wipe(struct buf *b)
{
    if (b->data)
        explicit_bzero(b->data, b->cap);
    buf_free(b);
}

void buf_clear(struct buf *b)
{
    b->len = 0;
    b->failed = false;
    if (b->data)
        b->data[0] = 0;
}

/* Capacity for `need` bytes and the NUL: doubled, so that many small puts stay linear, but never over what the maximum needs. */
static int grow(struct buf *b, size_t need)
{
    size_t cap = b->cap ? b->cap : BUF_FIRST;

    while (cap <= need)
        cap = cap > SIZE_MAX / 2 ? need + 1 : cap * 2;
    if (cap - 1 > b->max)
        cap = b->max + 1;
    uint8_t *data = realloc(b->data, cap);
    if (!data)
        return -1;
    b->data = data;
    b->cap = cap;
    return 0;
}

uint8_t *buf_room(struct buf *b, size_t n)
{
    if (b->failed)
        return NULL;
    /* need + 1 must not overflow: a maximum of SIZE_MAX counts as one less. */
    if (b->len > b->max || n > b->max - b->len || b->len + n == SIZE_MAX || (b->cap <= b->len + n && grow(b, b->len + n))) {
        b->failed = true;
        return NULL;
    }
    b->data[b->len + n] = 0;
    return b->data + b->len;
}

void buf_expect(struct buf *b, size_t n)
{
    if (!b->failed && b->len <= b->max && n <= b->max - b->len && n < SIZE_MAX - b->len - 1 && b->cap <= b->len + n && grow(b, b->len + n))
        return; /* whoever puts the bytes sees it */
}

void buf_put_more(struct buf *b, const void *data, size_t len)
{
    uint8_t *to = buf_room(b, len);

    if (!to || len == 0)
        return;
    memcpy(to, data, len);
    b->len += len;
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap, again;

    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    uint8_t *to = n < 0 ? NULL : buf_room(b, (size_t)n);
    if (to) {
        vsnprintf((char *)to, (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    }
    va_end(again);
    b->failed |= n < 0;
}

void buf_decimal(struct buf *b, uint64_t v)
{
    char digits[20];
    size_t at = sizeof digits;

    do {
        digits[--at] = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    buf_put(b, digits + at, sizeof digits - at);
}

void buf_u32(struct buf *b, uint32_t v)
{
    buf_put(b, (uint8_t[]){(uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v}, 4);
}

void buf_u64(struct buf *b, uint64_t v)
{
    buf_u32(b, (uint32_t)(v >> 32));
    buf_u32(b, (uint32_t)v);
}

void buf_consume(struct buf *b, size_t n)
{
    size_t left = n < b->len ? b->len - n : 0;

    if (!b->data)
        return;
    if (left)
        memmove(b->data, b->data + n, left);
    b->len = left;
    b->data[left] = 0;
}

int buf_ok(const struct buf *b)
{
    return b->failed ? -1 : 0;
}

char *buf_steal(struct buf *b, size_t *len)
{
    if (!buf_room(b, 0))
        return NULL;
    char *out = (char *)b->data;
    out[b->len] = '\0';
    if (len)
        *len = b->len;
    *b = BUF_INIT(b->max);
    return out;
}

/* Whoever used only a part of buf_room left the NUL further on. */
const char *buf_str(const struct buf *b)
{
    if (!b->data)
        return "";
    b->data[b->len] = 0;
    return (const char *)b->data;
}

struct span span_str(const char *s)
{
    return span_of(s, strlen(s));
}

bool span_eq(struct span a, struct span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

bool span_eq_str(struct span a, const char *s)
{
    return span_eq(a, span_str(s));
}
