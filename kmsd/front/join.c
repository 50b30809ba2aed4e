/* The head of an answer and its body leave as one TLS record: the library hands them over one after the other, and each would wake the peer and cost as much
 * as everything else that is done for a small answer. */
#include <string.h>

#include "kmsd/front/front.h"

#define RECORD_MAX (16u << 10)
static const char HEAD_END[] = "\r\n\r\n";

static bool is_head(const void *data, size_t size)
{
    size_t n = sizeof HEAD_END - 1;

    return size >= n && !memcmp((const uint8_t *)data + size - n, HEAD_END, n);
}

void join_expect(struct conn *c, size_t body)
{
    c->body_due = body && body < RECORD_MAX ? body : 0;
}

/* All of it, or what GnuTLS says: then the library comes again with the same bytes, which are held already. */
static ssize_t send_held(struct conn *c, size_t size)
{
    while (c->answer.len) {
        ssize_t n = tap_send(c->session, c->answer.data, c->answer.len);

        if (n < 0)
            return n;
        buf_consume(&c->answer, (size_t)n);
    }
    c->body_due = 0;
    return (ssize_t)size;
}

ssize_t join_send(struct conn *c, const void *data, size_t size)
{
    if (!c->answer.len) {
        /* Whatever is not the head alone goes as it is: so the body is not waited for where it came along or is none. */
        if (!c->body_due || !is_head(data, size) || size + c->body_due > RECORD_MAX) {
            c->body_due = 0;
            return tap_send(c->session, data, size);
        }
        c->head_only = true;
        buf_put(&c->answer, data, size);
        return buf_ok(&c->answer) ? GNUTLS_E_MEMORY_ERROR : (ssize_t)size;
    }
    if (c->head_only) {
        c->head_only = false;
        buf_put(&c->answer, data, size);
        if (buf_ok(&c->answer))
            return GNUTLS_E_MEMORY_ERROR;
    }
    return send_held(c, size);
}
