/* A byte buffer that carries its hard maximum from birth and remembers the first failure. */
#ifndef KMS_BASE_BUF_H
#define KMS_BASE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Bytes that belong to somebody else. */
struct span {
    const uint8_t *data;
    size_t len;
};

/* Zero or BUF_INIT(max) initialises. After a failed put, `failed` stays set and every later put is ignored. data is always NUL-terminated once allocated. */
struct buf {
    uint8_t *data;
    size_t len;
    size_t cap;
    size_t max;
    bool failed;
};
#define BUF_INIT(limit) ((struct buf){.max = (limit)})
#define BUF_AUTO __attribute__((cleanup(buf_free))) struct buf

void buf_free(struct buf *b);              /* releases and zeroes the struct */
void buf_wipe(struct buf *b);              /* explicit_bzero, then buf_free */
void buf_clear(struct buf *b);             /* len = 0, failed = false, memory kept */
void buf_put_more(struct buf *b, const void *data, size_t len); /* where there is no room yet */
static inline void buf_put(struct buf *b, const void *data, size_t len)
{
    if (b->failed || !len || len >= b->cap - b->len) {
        buf_put_more(b, data, len);
        return;
    }
    memcpy(b->data + b->len, data, len);
    b->len += len;
    b->data[b->len] = 0;
}
static inline void buf_putc(struct buf *b, uint8_t c) { buf_put(b, &c, 1); }
static inline void buf_puts(struct buf *b, const char *s) { buf_put(b, s, strlen(s)); }
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_decimal(struct buf *b, uint64_t v);
void buf_u32(struct buf *b, uint32_t v);   /* big-endian */
void buf_u64(struct buf *b, uint64_t v);
void buf_consume(struct buf *b, size_t n); /* drops the first n bytes */
/* Room for n more bytes at data+len without setting len; NULL when over the maximum. */
uint8_t *buf_room(struct buf *b, size_t n);
/* n more bytes are to come: memory for them at once, as far as the maximum goes. Never fails. */
void buf_expect(struct buf *b, size_t n);
/* 0 when nothing failed, else -1. */
int buf_ok(const struct buf *b) __attribute__((warn_unused_result));
/* Hands the memory on (caller frees), leaves b empty; NULL when failed. */
char *buf_steal(struct buf *b, size_t *len);
const char *buf_str(const struct buf *b);  /* "" when empty */
static inline struct span buf_span(const struct buf *b) { return (struct span){b->data, b->len}; }
static inline struct span span_of(const void *data, size_t len) { return (struct span){(const uint8_t *)data, len}; }
struct span span_str(const char *s);
bool span_eq(struct span a, struct span b);
bool span_eq_str(struct span a, const char *s);

#endif
