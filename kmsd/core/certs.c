/* What was learned of certificates that were seen before: a pure function of their bytes, so that it need not be found out for every request. What time and
 * state say of a certificate is asked each time. */
#include <stdlib.h>
#include <string.h>

#include "base/enc.h"
#include "kmsd/core/internal.h"

struct known_cert {
    char sha256[SHA256_HEX];
    char signer[SHA256_HEX];       /* SPKI that is known to have signed it, "" = none is */
    struct cert_facts facts;
};

/* The next request often comes with the certificate of the last one: to compare takes less than to hash. */
void certs_name(struct core *c, struct span der, char out[static SHA256_HEX])
{
    if (!c->cred_last[0] || !span_eq(der, buf_span(&c->cert_last))) {
        buf_free(&c->cert_last);
        c->cert_last = BUF_INIT(FRAME_MAX);
        buf_put(&c->cert_last, der.data, der.len);
        sha256_hex(der.data, der.len, out);
        memcpy(c->cred_last, out, SHA256_HEX);
        if (buf_ok(&c->cert_last))
            c->cred_last[0] = '\0';
        return;
    }
    memcpy(out, c->cred_last, SHA256_HEX);
}

/* Two certificates of one place take turns. */
static struct known_cert **place(struct core *c, const char *sha256)
{
    uint8_t first[2] = {0};

    (void)!hex_decode(sha256, 4, first, sizeof first);
    return &c->certs[(first[0] << 8 | first[1]) % CERTS_MAX];
}

static struct known_cert *known(struct core *c, const struct request *rq, struct err *e)
{
    struct known_cert **at = place(c, rq->cred);
    struct cert_facts facts;

    if (*at && !strcmp((*at)->sha256, rq->cred))
        return *at;
    if (cert_facts(rq->cert, &facts, e))
        return NULL;
    if (!*at && !(*at = malloc(sizeof **at))) {
        err_set(e, ERR_BUSY, "the service is out of memory");
        return NULL;
    }
    (*at)->facts = facts;
    (*at)->signer[0] = '\0';
    memcpy((*at)->sha256, rq->cred, SHA256_HEX);
    return *at;
}

const struct cert_facts *certs_facts(struct core *c, const struct request *rq, struct err *e)
{
    const struct known_cert *k = known(c, rq, e);

    return k ? &k->facts : NULL;
}

int certs_signed_by(struct core *c, const struct request *rq, const struct credential *by, struct err *e)
{
    struct known_cert *k = known(c, rq, e);

    if (!k)
        return -1;
    if (!strcmp(k->signer, by->ca_spki_sha256))
        return 0;
    if (cert_signed_by(rq->cert, buf_span(&by->ca_spki), e))
        return -1;
    memcpy(k->signer, by->ca_spki_sha256, SHA256_HEX);
    return 0;
}

void certs_free(struct core *c)
{
    for (unsigned n = 0; n < CERTS_MAX; n++)
        free(c->certs[n]);
    buf_free(&c->cert_last);
}
