/* Another CA key on the token, and its certificate. */
#include "kmsd/token/renewca.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fsutil.h"
#include "base/timefmt.h"
#include "kmsd/token/generate.h"
#include "kmsd/token/latch.h"
#include "kmsd/token/setup.h"

#define BACKDATE (5 * 60 * TIME_SECOND)
#define LOCK_WAIT_MS 30000

/* Two CAs of one name could not be told apart by whoever goes by names. */
static int name_of(const struct settings *s, int64_t now, char *out, size_t size, struct fault *f)
{
    char day[TIME_TEXT];
    int n;

    time_format(now, day);
    n = snprintf(out, size, "kmsd CA %.36s %.10s %.2s%.2s%.2s", s->instance, day, day + 11, day + 14, day + 17);
    return n > 0 && (size_t)n < size ? 0 : fault_set(f, LANE_INPUT, "the name of the instance is too long");
}

static int make(const struct settings *s, struct buf *line, struct fault *f)
{
    int64_t now = clock_wall_us();
    TOKEN_AUTO t = {0};
    uint8_t id[KEY_ID_LEN];
    char cn[65];
    JSON_AUTO *ca = NULL;
    BUF_AUTO der = BUF_INIT(CERT_DER_MAX);

    if (name_of(s, now, cn, sizeof cn, f) || token_open(&t, &s->keys, f) || !(ca = setup_key(&t, &method_ca, LABEL_CA, id, f)) ||
        setup_ca_certificate(&t, span_of(id, sizeof id), cn, now - BACKDATE, &der, f) || setup_b64(ca, "cert_b64", buf_span(&der), f))
        return -1;
    json_canonical(line, ca);
    return buf_ok(line) ? fault_set(f, LANE_TOKEN, "out of memory") : 0;
}

int renew_ca(const struct settings *s, struct buf *line, struct fault *f)
{
    struct err e = {0};
    int lock = lock_file(s->tokens_lock, LOCK_WAIT_MS, &e), bad;

    if (lock < 0)
        return fault_err(f, LANE_TOKEN, &e);
    bad = latch_after(s, latch_check(s, f) || make(s, line, f), f);
    (void)close(lock);
    return bad;
}
