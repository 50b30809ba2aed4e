/* Looks at the end of the caller's own certificate. */
#include "client/owncert.h"

#include <string.h>

#include "base/fsutil.h"
#include "base/timefmt.h"
#include "base/x509.h"
#include "client/config.h"
#include "client/output.h"

#define PEM_MAX (64u << 10)
#define DAY (86400 * TIME_SECOND)

/* A file may hold the chain behind the certificate, or the key before it. */
static struct span first_certificate(const struct buf *pem)
{
    static const char begin[] = "-----BEGIN CERTIFICATE-----", end[] = "-----END CERTIFICATE-----";
    const char *from = strstr(buf_str(pem), begin), *to = from ? strstr(from, end) : NULL;

    return to ? span_of(from, (size_t)(to - from) + sizeof end - 1) : (struct span){0};
}

int64_t owncert_end(const char *path)
{
    BUF_AUTO pem = BUF_INIT(PEM_MAX), der = BUF_INIT(PEM_MAX);
    struct cert_facts f;
    struct err e = {0};
    struct span first;

    if (!path || file_read(path, &pem, &e))
        return -1;
    first = first_certificate(&pem);
    return !first.len || pem_to_der(first, "CERTIFICATE", &der, &e) || cert_facts(buf_span(&der), &f, &e) ? -1 : f.not_after;
}

int64_t owncert_days_left(int64_t end)
{
    int64_t left = end - clock_wall_us();

    return left < 0 ? (left - DAY + 1) / DAY : left / DAY;
}

void owncert_warn(const struct context *c)
{
    int64_t end = owncert_end(config_text(c, OPT_CLIENT_CERT)), days = owncert_days_left(end);
    char until[TIME_TEXT];

    if (end < 0 || days >= OWNCERT_SOON_DAYS)
        return;
    time_format(end, until);
    if (days < 0)
        output_note("your certificate ended on %.10s; an administrator must let you in anew", until);
    else
        output_note("your certificate ends on %.10s, in %lld days; renew it with: kmsctl renew", until, (long long)days);
}
