/* The CAs of the instance, the one that log.genesis names and those that came after it, and what they issued for the doors. */
#include <string.h>

#include "audit/verify/check.h"
#include "base/enc.h"
#include "base/x509.h"

#define DER_MAX (128u << 10)

bool ca_issued(const struct check *c, struct span der)
{
    struct err e = {0};

    return !cert_signed_by(der, buf_span(&c->state.ca_spki), &e) ||
           (c->state.ca_before.len && !cert_signed_by(der, buf_span(&c->state.ca_before), &e));
}

void token_key_take(struct check *c, const struct record *r, const json_t *key)
{
    if (state_take(&c->state.key_ids, text_of(key, "key_id")) || state_take(&c->state.public_keys, text_of(key, "spki_b64")))
        (void)check_fail(c, r, FINDING_INVALID, "a key of the token stands in another record already");
}

void ca_take(struct check *c, const struct record *r)
{
    const json_t *ca = json_object_get(r->detail, "ca");
    const char *cert = text_of(ca, "cert_b64"), *spki = text_of(ca, "spki_b64");
    BUF_AUTO der = BUF_INIT(DER_MAX), key = BUF_INIT(DER_MAX);
    struct state *s = &c->state;
    struct cert_facts f;
    struct err e = {0};

    if (b64_decode(&der, cert, strlen(cert)) || b64_decode(&key, spki, strlen(spki)) || cert_facts(buf_span(&der), &f, &e) || !f.is_ca ||
        cert_signed_by(buf_span(&der), buf_span(&key), &e))
        (void)check_fail(c, r, FINDING_INVALID, "the certificate of the CA is not one of its key");
    token_key_take(c, r, ca);
    birth_check(c, r, "ca", json_object_get(ca, "birth"), "CKM_ECDSA", false);
    buf_clear(&s->ca_before);
    buf_put(&s->ca_before, s->ca_spki.data, s->ca_spki.len);
    buf_clear(&s->ca_spki);
    buf_put(&s->ca_spki, key.data, key.len);
}

void server_check(struct check *c, const struct record *r)
{
    const char *cert = text_of(r->detail, "certificate_b64");
    BUF_AUTO der = BUF_INIT(DER_MAX);
    struct cert_facts f;
    struct err e = {0};

    if (b64_decode(&der, cert, strlen(cert)) || cert_facts(buf_span(&der), &f, &e) || f.is_ca || f.client_auth || !ca_issued(c, buf_span(&der)))
        (void)check_fail(c, r, FINDING_INVALID, "the certificate of the doors is none that the CA issued for them");
}

void ca_check(struct check *c, const struct record *r)
{
    report_note(c->report, "record %llu: the service got another CA key", (unsigned long long)r->seq);
    ca_take(c, r);
}
