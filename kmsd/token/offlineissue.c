/* Certificates that the CA key issues without the core. */
#include "kmsd/token/offlineissue.h"

#include <string.h>
#include <unistd.h>

#include "base/enc.h"
#include "base/fsutil.h"
#include "base/timefmt.h"
#include "base/x509.h"
#include "kmsd/token/latch.h"
#include "kmsd/token/servercert.h"

#define BACKDATE (5 * 60 * TIME_SECOND) /* clients whose clock is a little behind */
#define LOCK_WAIT_MS 30000
#define CSR_MAX 32768

/* One certificate: exactly one of spki and csr. */
struct order {
    EVP_PKEY *spki;
    struct span csr;
    const char *cn;
};

static int issue(const struct settings *s, const struct order *o, struct buf *der, struct fault *f)
{
    int64_t from = clock_wall_us() - BACKDATE;
    struct cert_profile p = {.kind = CERT_CLIENT, .cn = o->cn, .not_before = from, .not_after = from + CERT_LEAF_MAX};
    TOKEN_AUTO t = {0};
    struct authority ca = {0};
    int bad;

    if (token_open(&t, &s->keys, f) || authority_open(&t, s->client_ca[0], &ca, f))
        return -1;
    if (o->spki)
        bad = server_certificate_for(&t, &ca, s, o->spki, s->instance, from, der, f);
    else
        bad = random_serial(p.serial, f) || authority_issue_profile(&t, &ca, o->csr, &p, der, f);
    authority_close(&ca);
    return bad ? -1 : 0;
}

static int issue_locked(const struct settings *s, const struct order *o, struct buf *pem, struct fault *f)
{
    BUF_AUTO der = BUF_INIT(CERT_DER_MAX);
    struct err e = {0};
    int lock = lock_file(s->tokens_lock, LOCK_WAIT_MS, &e), bad;

    if (lock < 0)
        return fault_err(f, LANE_TOKEN, &e);
    bad = latch_after(s, latch_check(s, f) || issue(s, o, &der, f), f);
    (void)close(lock);
    if (bad)
        return -1;
    der_to_pem(pem, "CERTIFICATE", buf_span(&der));
    return buf_ok(pem) ? fault_set(f, LANE_TOKEN, "out of memory") : 0;
}

int renew_server(const struct settings *s, const char *spki_b64, struct buf *pem, struct fault *f)
{
    BUF_AUTO der = BUF_INIT(4096);
    struct order o = {0};
    const unsigned char *at;
    int bad;

    if (!b64_decode(&der, spki_b64, strlen(spki_b64))) {
        at = der.data;
        o.spki = d2i_PUBKEY(NULL, &at, (long)der.len);
    }
    if (!o.spki)
        return fault_set(f, LANE_INPUT, "--spki is no public key");
    bad = issue_locked(s, &o, pem, f);
    EVP_PKEY_free(o.spki);
    return bad;
}

int recover_admin(const struct settings *s, const char *csr_b64, const char *cn, struct buf *pem, struct fault *f)
{
    BUF_AUTO der = BUF_INIT(CSR_MAX);

    if (b64_decode(&der, csr_b64, strlen(csr_b64)))
        return fault_set(f, LANE_INPUT, "--csr is no base64");
    return issue_locked(s, &(struct order){.csr = buf_span(&der), .cn = cn}, pem, f);
}
