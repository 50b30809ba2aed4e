/* Nonces for signed requests: in memory only, single use, bound to the certificate that asked. */
#include <stdlib.h>
#include <string.h>

#include "base/enc.h"
#include "kmsd/core/internal.h"

static void drop(struct core *c, struct nonce **at)
{
    struct nonce *n = *at;

    *at = n->next;
    free(n);
    c->n_nonces--;
}

void nonces_expire(struct core *c)
{
    struct nonce **at = &c->nonces;

    while (*at)
        if ((*at)->expires <= c->clock.boot)
            drop(c, at);
        else
            at = &(*at)->next;
}

void nonces_free(struct core *c)
{
    while (c->nonces)
        drop(c, &c->nonces);
}

static unsigned outstanding(const struct core *c, const char *cred)
{
    unsigned count = 0;

    for (const struct nonce *n = c->nonces; n; n = n->next)
        count += !strcmp(n->cred, cred);
    return count;
}

int nonce_handle(struct core *c, struct request *rq, struct err *e)
{
    uint8_t bytes[16];
    struct nonce *n;

    if (strcmp(rq->kind, "human"))
        return err_set(e, ERR_FORBIDDEN, "only people sign requests; %s is an identity of kind %s", rq->identity, rq->kind);
    nonces_expire(c);
    if (outstanding(c, rq->cred) >= NONCES_PER_CERT || c->n_nonces >= NONCES_MAX) {
        e->retry_after = 60;
        return err_set(e, ERR_RATE_LIMITED, "this certificate has %d unused nonces", NONCES_PER_CERT);
    }
    n = calloc(1, sizeof *n);
    if (!n)
        return err_set(e, ERR_BUSY, "the service is out of memory");
    c->io.random(c->io.ctx, bytes, sizeof bytes);
    hex_encode(bytes, sizeof bytes, n->text);
    memcpy(n->cred, rq->cred, sizeof n->cred);
    n->expires = c->clock.boot + NONCE_LIFE;
    n->next = c->nonces;
    c->nonces = n;
    c->n_nonces++;
    reply_json(c, rq, 200, json_pack("{s:i, s:s, s:s}", "expires_in", 60, "instance", c->state->instance, "nonce", n->text));
    return 0;
}

int nonce_take(struct core *c, const char *cred, bool (*fits)(void *ctx, const char *nonce), void *ctx, char out[static NONCE_HEX], unsigned *tried)
{
    nonces_expire(c);
    *tried = 0;
    for (struct nonce **at = &c->nonces; *at; at = &(*at)->next) {
        if (strcmp((*at)->cred, cred))
            continue;
        ++*tried;
        if (!fits(ctx, (*at)->text))
            continue;
        memcpy(out, (*at)->text, NONCE_HEX);
        drop(c, at);
        return 0;
    }
    return -1;
}
