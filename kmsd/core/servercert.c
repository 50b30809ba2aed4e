/* Records the certificates of the doors: what the CA key issued for them is in the log as soon as a door shows it, however it came there. */
#include <string.h>

#include "base/enc.h"
#include "base/x509.h"
#include "kmsd/core/internal.h"

/* The first one was made together with the CA, whose record stands for both. */
static bool is_new(const struct core *c, const struct cert_facts *shown, const char *sha256)
{
    struct cert_facts ca;
    struct err e = {0};

    if (c->state->server_sha256[0])
        return strcmp(c->state->server_sha256, sha256) != 0;
    return !cert_facts(buf_span(&c->state->ca_cert), &ca, &e) && shown->not_before > ca.not_before;
}

/* Certificates of another CA are the operator's affair: our key made none of them. */
static bool is_ours(const struct core *c, struct span der, const struct cert_facts *f)
{
    struct err e = {0};

    return !f->is_ca && !f->client_auth && !state_issued(c->state, der, &e);
}

void server_certificate_shown(struct core *c, struct span der, const struct cert_facts *f)
{
    BUF_AUTO b64 = BUF_INIT(RECORD_LINE_MAX);
    char sha256[SHA256_HEX];
    struct err e = {0};
    json_t *record;

    hex_encode(f->sha256, SHA256_LEN, sha256);
    if (c->stopping || !is_new(c, f, sha256) || !is_ours(c, der, f))
        return;
    b64_encode(&b64, der.data, der.len);
    if (buf_ok(&b64))
        return;
    record = record_new("server.renew", "ok", &actor_system, "");
    json_object_set_new(record, "detail", json_pack("{s:s}", "certificate_b64", buf_str(&b64)));
    if (commit(c, record, &e))
        commit_lost(c, "server", &e);
}
