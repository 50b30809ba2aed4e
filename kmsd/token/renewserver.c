/* Another certificate for the doors, issued by the CA key on the token. */
#include "kmsd/token/renewserver.h"

#include <string.h>
#include <unistd.h>

#include "base/enc.h"
#include "base/fsutil.h"
#include "base/timefmt.h"
#include "base/x509.h"
#include "kmsd/token/servercert.h"

#define BACKDATE (5 * 60 * TIME_SECOND) /* clients whose clock is a little behind */
#define LOCK_WAIT_MS 30000

static EVP_PKEY *read_spki(const char *b64, struct fault *f)
{
    BUF_AUTO der = BUF_INIT(4096);
    const unsigned char *at;
    EVP_PKEY *key = NULL;

    if (!b64_decode(&der, b64, strlen(b64))) {
        at = der.data;
        key = d2i_PUBKEY(NULL, &at, (long)der.len);
    }
    if (!key)
        fault_set(f, LANE_INPUT, "--spki is no public key");
    return key;
}

static int issue(const struct settings *s, EVP_PKEY *key, struct buf *der, struct fault *f)
{
    TOKEN_AUTO t = {0};
    struct authority ca = {0};
    int bad;

    if (token_open(&t, &s->keys, f) || authority_open(&t, s->client_ca[0], &ca, f))
        return -1;
    bad = server_certificate_for(&t, &ca, s, key, s->instance, clock_wall_us() - BACKDATE, der, f);
    authority_close(&ca);
    return bad;
}

int renew_server(const struct settings *s, const char *spki_b64, struct buf *pem, struct fault *f)
{
    BUF_AUTO der = BUF_INIT(CERT_DER_MAX);
    struct err e = {0};
    EVP_PKEY *key = read_spki(spki_b64, f);
    int lock = key ? lock_file(s->tokens_lock, LOCK_WAIT_MS, &e) : -1, bad = -1;

    if (key && lock < 0)
        fault_err(f, LANE_TOKEN, &e);
    else if (key)
        bad = issue(s, key, &der, f);
    if (lock >= 0)
        (void)close(lock);
    EVP_PKEY_free(key);
    if (bad)
        return -1;
    der_to_pem(pem, "CERTIFICATE", buf_span(&der));
    return buf_ok(pem) ? fault_set(f, LANE_TOKEN, "out of memory") : 0;
}
