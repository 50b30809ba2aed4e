/* Stands between GnuTLS and libmicrohttpd: this program defines gnutls_record_recv itself, so that every decrypted byte passes the strict head reader
 * before the HTTP library, which reads requests more loosely than is safe, gets to see it. A request of a connection unknown here is never answered. */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "kmsd/front/front.h"

static const char CANNED[] = "GET /refused HTTP/1.1\r\nHost: refused\r\nConnection: close\r\n\r\n";

static ssize_t real_recv(gnutls_session_t session, void *data, size_t size)
{
    static ssize_t (*real)(gnutls_session_t, void *, size_t);

    if (!real) {
        void *found = dlsym(RTLD_NEXT, "gnutls_record_recv");

        memcpy(&real, &found, sizeof real);
        if (!real)
            abort();
    }
    return real(session, data, size);
}

static size_t real_pending(gnutls_session_t session)
{
    static size_t (*real)(gnutls_session_t);

    if (!real) {
        void *found = dlsym(RTLD_NEXT, "gnutls_record_check_pending");

        memcpy(&real, &found, sizeof real);
        if (!real)
            abort();
    }
    return real(session);
}

/* A request has its time from its first byte to its last one; between requests only idle time counts. */
static void set_clock(struct conn *c, bool was_idle)
{
    bool idle = c->scan.state == HEADSCAN_HEAD && !c->scan.len;

    if (idle)
        conn_deadline(c, IDLE_SECONDS);
    else if (was_idle)
        conn_deadline(c, (unsigned)front.settings.request_seconds);
}

static ssize_t deliver(struct conn *c, void *data, size_t size)
{
    size_t n = c->ready.len < size ? c->ready.len : size;

    memcpy(data, c->ready.data, n);
    buf_consume(&c->ready, n);
    return (ssize_t)n;
}

static ssize_t take(struct conn *c)
{
    uint8_t part[16384];
    bool was_idle = c->scan.state == HEADSCAN_HEAD && !c->scan.len;
    ssize_t n = real_recv(c->session, part, sizeof part);

    if (n <= 0)
        return n;
    headscan_feed(&c->scan, span_of(part, (size_t)n), &c->ready);
    explicit_bzero(part, (size_t)n);
    set_clock(c, was_idle);
    if (c->scan.state == HEADSCAN_BAD && !c->canned) {
        c->canned = true;
        buf_put(&c->ready, CANNED, sizeof CANNED - 1);
    }
    return buf_ok(&c->ready) ? GNUTLS_E_MEMORY_ERROR : n;
}

ssize_t gnutls_record_recv(gnutls_session_t session, void *data, size_t size)
{
    struct conn *c = conn_of(session);
    ssize_t n = 1;

    if (!c)
        return real_recv(session, data, size);
    while (!c->ready.len && n > 0)
        n = take(c);
    return c->ready.len ? deliver(c, data, size) : n;
}

size_t gnutls_record_check_pending(gnutls_session_t session)
{
    const struct conn *c = conn_of(session);

    return real_pending(session) + (c ? c->ready.len : 0);
}
