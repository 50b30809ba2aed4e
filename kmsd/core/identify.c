/* From the peer's certificate to an identity: on every request, against the state of this moment. */
#include <string.h>

#include "audit/state/internal.h"
#include "audit/state/tree.h"
#include "base/timefmt.h"
#include "kmsd/core/internal.h"

static int check_certificate(const struct core *c, const struct cert_facts *f, struct err *e)
{
    if (f->is_ca)
        return err_set(e, ERR_FORBIDDEN, "the client certificate is a CA certificate");
    if (!f->client_auth)
        return err_set(e, ERR_FORBIDDEN, "the client certificate lacks the extended key usage clientAuth");
    if (c->clock.wall < f->not_before)
        return err_set(e, ERR_FORBIDDEN, "the client certificate is not valid yet");
    if (c->clock.wall > f->not_after)
        return err_set(e, ERR_FORBIDDEN, "the client certificate has expired; get a new one from an administrator");
    return 0;
}

struct san_search {
    struct core *c;
    const struct request *rq;
    const struct cert_facts *facts;
    struct identity *found;
    bool ambiguous;
};

static bool has_name(const struct cert_facts *f, const struct credential *cr)
{
    unsigned n = cr->kind == CREDENTIAL_SPIFFE ? f->n_uri : f->n_dns;

    for (unsigned i = 0; i < n; i++)
        if (!strcmp(cr->kind == CREDENTIAL_SPIFFE ? f->uri[i] : f->dns[i], cr->value))
            return true;
    return false;
}

/* A name counts only under the CA that it was bound to: the certificate must carry that key's signature. */
static bool visit_name(void *ctx, void *node)
{
    struct san_search *s = ctx;
    struct credential_ref *ref = node;
    struct err e = {0};

    if (strncmp(ref->id, "s:", 2))
        return false;
    for (unsigned n = 0; n < ref->identity->n_credentials; n++) {
        const struct credential *cr = &ref->identity->credential[n];

        if (cr->kind == CREDENTIAL_CERTIFICATE || !has_name(s->facts, cr) || certs_signed_by(s->c, s->rq, cr, &e))
            continue;
        s->ambiguous |= s->found && s->found != ref->identity;
        s->found = ref->identity;
    }
    return true;
}

static struct identity *find(struct core *c, const struct request *rq, const struct cert_facts *facts)
{
    char id[CREDENTIAL_ID_MAX] = "c:";
    struct san_search s = {.c = c, .rq = rq, .facts = facts};
    struct identity *i;

    memcpy(id + 2, rq->cred, SHA256_HEX);
    i = state_credential(c->state, id);
    if (i || (!facts->n_uri && !facts->n_dns))
        return i;
    tree_each(c->state->credentials, "s:", visit_name, &s);
    return s.ambiguous ? NULL : s.found;
}

int identify(struct core *c, struct request *rq, struct err *e)
{
    const struct cert_facts *facts = certs_facts(c, rq, e);
    struct identity *i;

    if (!facts || check_certificate(c, facts, e))
        return -1;
    i = find(c, rq, facts);
    if (!i)
        return err_set(e, ERR_FORBIDDEN, "the client certificate %.16s… belongs to no identity", rq->cred);
    memcpy(rq->identity, i->name, sizeof rq->identity);
    memcpy(rq->kind, i->kind, sizeof rq->kind);
    time_format(facts->not_after, rq->cred_not_after);
    if (!i->enabled)
        return err_set(e, ERR_FORBIDDEN, "the identity of this certificate is disabled");
    return 0;
}

/* Whoever the certificate belongs to by now, the request is that of the identity it came from. */
struct identity *identify_again(struct core *c, struct request *rq, struct err *e)
{
    char before[sizeof rq->identity], kind[sizeof rq->kind];

    memcpy(before, rq->identity, sizeof before);
    memcpy(kind, rq->kind, sizeof kind);
    if (identify(c, rq, e))
        return NULL;
    if (!strcmp(before, rq->identity))
        return state_identity(c->state, rq->identity);
    memcpy(rq->identity, before, sizeof before);
    memcpy(rq->kind, kind, sizeof kind);
    err_set(e, ERR_FORBIDDEN, "the client certificate belongs to another identity since this request came");
    return NULL;
}
