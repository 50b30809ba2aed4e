/* The end of a handshake that failed: the peer is told why, and has a moment to read it. Neither library says anything, and a connection that just ends
 * reads like a service that restarts: clients would try again. Closed at once, with a request on its way already, it would be reset, and what was
 * said lost. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fsutil.h"
#include "kmsd/front/front.h"

#define PARTING_US 1000000
#define READS 4 /* at a time */

static const struct {
    const char *reason;
    gnutls_alert_description_t alert; /* RFC 8446, 6.2 */
} ALERTS[] = {
    {"tls-no-certificate", GNUTLS_A_CERTIFICATE_REQUIRED},     {"tls-untrusted", GNUTLS_A_UNKNOWN_CA},
    {"tls-expired", GNUTLS_A_CERTIFICATE_EXPIRED},             {"tls-not-yet-valid", GNUTLS_A_CERTIFICATE_EXPIRED},
    {"tls-wrong-purpose", GNUTLS_A_UNSUPPORTED_CERTIFICATE},
};

static int tell(const struct conn *c)
{
    for (size_t n = 0; n < sizeof ALERTS / sizeof *ALERTS; n++)
        if (!strcmp(ALERTS[n].reason, c->tls_reason))
            return gnutls_alert_send(c->session, GNUTLS_AL_FATAL, ALERTS[n].alert);
    return gnutls_alert_send_appropriate(c->session, c->failed);
}

void parting_begin(struct conn *c, int code)
{
    c->failed = code;
    if (code == GNUTLS_E_FATAL_ALERT_RECEIVED || tell(c) < 0 || shutdown(c->fd, SHUT_WR))
        return; /* it knows, or has gone */
    c->part_by = clock_boot_us() + PARTING_US;
}

int parting(const struct conn *c)
{
    uint8_t unread[16384];
    ssize_t n = 0;

    if (c->over || front.now >= c->part_by)
        return c->failed;
    for (unsigned reads = 0; reads < READS && (n = recv(c->fd, unread, sizeof unread, MSG_DONTWAIT)) > 0; reads++)
        ;
    return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)) ? GNUTLS_E_AGAIN : c->failed;
}
