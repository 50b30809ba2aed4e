/* Stands between GnuTLS and libmicrohttpd, which reads requests more loosely than is safe: this program defines the GnuTLS functions through
 * which the library reads, and the dynamic linker prefers them to GnuTLS' own. So every decrypted byte passes the strict head reader first.
 *
 * - The library gets one request at a time: nothing of the next one before it said that the last one is over. Whatever it parses then is what the
 *   head reader vouched for last; the handler compares the two and refuses what differs (http.c).
 * - In place of a bad head it gets a harmless stand-in, for which the handler answers with the head reader's verdict, and after that the end of the
 *   stream.
 * - Should the linker not prefer these functions, no head is ever vouched for and every request is refused. */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "kmsd/front/front.h"

#define RECORD_MAX (16u << 10)
#define PAUSE_FIRST INT64_C(250)
#define PAUSE_MAX INT64_C(64000)

static const char STAND_IN[] = "GET /refused HTTP/1.1\r\nHost: refused\r\nConnection: close\r\n\r\n";

static struct {
    int (*handshake)(gnutls_session_t);
    ssize_t (*recv)(gnutls_session_t, void *, size_t);
    size_t (*pending)(gnutls_session_t);
    ssize_t (*send)(gnutls_session_t, const void *, size_t);
} real;

/* ISO C has no conversion between object and function pointers; POSIX gives them one representation. */
static void find(const char *name, void *function, size_t size)
{
    void *found = dlsym(RTLD_NEXT, name);

    if (!found || size != sizeof found)
        abort();
    memcpy(function, &found, size);
}

__attribute__((constructor)) static void find_all(void)
{
    find("gnutls_handshake", &real.handshake, sizeof real.handshake);
    find("gnutls_record_recv", &real.recv, sizeof real.recv);
    find("gnutls_record_check_pending", &real.pending, sizeof real.pending);
    find("gnutls_record_send", &real.send, sizeof real.send);
}

/* A client below TLS 1.3 is found to share no cipher suite with us. */
static const char *reason_of(int code)
{
    static const struct {
        int code;
        const char *reason;
    } table[] = {
        {GNUTLS_E_NO_CERTIFICATE_FOUND, "tls-no-certificate"}, {GNUTLS_E_CERTIFICATE_REQUIRED, "tls-no-certificate"},
        {GNUTLS_E_KEY_USAGE_VIOLATION, "tls-wrong-purpose"},   {GNUTLS_E_NO_CIPHER_SUITES, "tls-version"},
        {GNUTLS_E_UNSUPPORTED_VERSION_PACKET, "tls-version"},  {GNUTLS_E_PREMATURE_TERMINATION, "tls-aborted"},
        {GNUTLS_E_PULL_ERROR, "tls-aborted"},                  {GNUTLS_E_PUSH_ERROR, "tls-aborted"},
    };

    for (size_t n = 0; n < sizeof table / sizeof *table; n++)
        if (table[n].code == code)
            return table[n].reason;
    return "tls-handshake";
}

/* The library tries every handshake that is not over again and again, whether its peer said anything or not. Left to itself it keeps a processor busy
 * with a few hundred peers that say nothing. Each is left alone for as long as it has been silent already, up to PAUSE_MAX. */
static bool leave_alone(struct conn *c, int code)
{
    if (code != GNUTLS_E_AGAIN) {
        c->pause = 0;
        front.progress++;
        return false;
    }
    c->pause = !c->pause ? PAUSE_FIRST : 2 * c->pause < PAUSE_MAX ? 2 * c->pause : PAUSE_MAX;
    c->try_at = front.now + c->pause;
    return true;
}

ssize_t tap_send(gnutls_session_t session, const void *data, size_t size)
{
    ssize_t n = real.send(session, data, size);

    front.progress += n > 0;
    return n;
}

ssize_t gnutls_record_send(gnutls_session_t session, const void *data, size_t size)
{
    struct conn *c = conn_of(session);

    return c ? join_send(c, data, size) : tap_send(session, data, size);
}

int gnutls_handshake(gnutls_session_t session)
{
    struct conn *c = conn_of(session);
    int code;

    if (c && front.now < c->try_at)
        return GNUTLS_E_AGAIN;
    if (c && c->failed) {
        code = parting(c);
        (void)leave_alone(c, code);
        return code;
    }
    code = real.handshake(session);
    if (c && leave_alone(c, code))
        return code;
    if (c && code == GNUTLS_E_SUCCESS)
        conn_phase(c, PHASE_IDLE);
    else if (c && gnutls_error_is_fatal(code)) {
        c->tls_reason = c->tls_reason ? c->tls_reason : reason_of(code);
        parting_begin(c, code);
        return parting(c);
    }
    return code;
}

/* Decrypted bytes into c->held: what gnutls_record_recv returns. */
static ssize_t fill(struct conn *c)
{
    uint8_t *room = buf_room(&c->held, RECORD_MAX);
    ssize_t n = room ? real.recv(c->session, room, RECORD_MAX) : GNUTLS_E_MEMORY_ERROR;

    if (n > 0) {
        c->held.len += (size_t)n;
        front.progress++;
    }
    return n;
}

/* One step from c->held to c->ready. > 0: go on. */
static ssize_t take(struct conn *c)
{
    uint64_t heads = c->scan.heads;
    ssize_t n = c->held.len ? 1 : fill(c);

    if (n <= 0)
        return n;
    if (headscan_between(&c->scan))
        conn_phase(c, PHASE_REQUEST);
    buf_consume(&c->held, headscan_feed(&c->scan, buf_span(&c->held), &c->ready));
    if (c->scan.state == HEADSCAN_BAD)
        buf_put(&c->ready, STAND_IN, sizeof STAND_IN - 1);
    c->open = c->open || c->scan.heads != heads || c->scan.state == HEADSCAN_BAD;
    return buf_ok(&c->ready) ? GNUTLS_E_MEMORY_ERROR : n;
}

/* A bad head, or half of one, becomes the stand-in; what is missing of a body becomes zeros (made_up), which the handler drops: the library can only
 * answer whole requests. */
bool tap_late(struct conn *c)
{
    if (c->scan.state == HEADSCAN_BODY)
        return c->open;
    if (c->open || c->scan.state != HEADSCAN_HEAD || !c->scan.len)
        return false;
    c->scan.state = HEADSCAN_BAD;
    c->scan.verdict = ERR_TIMEOUT;
    c->scan.why = "the request head did not arrive in time";
    c->open = true;
    buf_put(&c->ready, STAND_IN, sizeof STAND_IN - 1);
    return true;
}

static size_t made_up(struct conn *c, void *data, size_t size)
{
    size_t n = c->scan.body_left < size ? (size_t)c->scan.body_left : size;

    memset(data, 0, n);
    c->scan.body_left -= n;
    if (!c->scan.body_left)
        c->scan.state = HEADSCAN_HEAD;
    front.progress++;
    return n;
}

/* The library reads on though the request it has is whole. It does so once when a suspended connection goes on: it may come again, and must not
 * believe the socket empty, for no event would tell it of what already is here. Before the handler had the whole request, the two understand it
 * differently. */
static ssize_t too_early(const struct conn *c)
{
    return c->phase == PHASE_REQUEST ? GNUTLS_E_INTERNAL_ERROR : GNUTLS_E_INTERRUPTED;
}

ssize_t gnutls_record_recv(gnutls_session_t session, void *data, size_t size)
{
    struct conn *c = conn_of(session);
    ssize_t n = 1;

    if (!c)
        return GNUTLS_E_INTERNAL_ERROR;
    if (c->late && !c->ready.len && c->scan.state == HEADSCAN_BODY)
        return (ssize_t)made_up(c, data, size);
    while (!c->ready.len && n > 0) {
        if (c->scan.state == HEADSCAN_BAD)
            return 0;
        if (c->open && headscan_between(&c->scan))
            return too_early(c);
        n = take(c);
    }
    if (!c->ready.len || n < 0)
        return n;
    n = (ssize_t)(c->ready.len < size ? c->ready.len : size);
    memcpy(data, c->ready.data, (size_t)n);
    buf_consume(&c->ready, (size_t)n);
    return n;
}

size_t gnutls_record_check_pending(gnutls_session_t session)
{
    const struct conn *c = conn_of(session);

    size_t rest = c && c->late && c->scan.state == HEADSCAN_BODY ? (size_t)c->scan.body_left : 0;

    return real.pending(session) + (c ? c->held.len + c->ready.len + rest : 0);
}
