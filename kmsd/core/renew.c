/* New certificates for identities that exist: a job renews its own, a person signs for one. */
#include <string.h>

#include "base/enc.h"
#include "base/timefmt.h"
#include "kmsd/core/internal.h"

#define PEM_MAX 16384

struct renewal {
    const char *csr;
    int64_t days;
};

static int parse(struct request *rq, struct renewal *n, struct err *e)
{
    struct json_reader r;

    if (request_json(rq, &r, e) || json_get_str(&r, "csr", PEM_MAX, &n->csr, e) || json_opt_int(&r, "days", 1, 398, 90, &n->days, e) || json_done(&r, e))
        return -1;
    return 0;
}

static const struct credential *used(const struct identity *i, const struct request *rq)
{
    for (unsigned n = 0; n < i->n_credentials; n++)
        if (i->credential[n].kind == CREDENTIAL_CERTIFICATE && !strcmp(i->credential[n].cert_sha256, rq->cred))
            return &i->credential[n];
    return NULL;
}

/* For oneself the right to renew is enough. Whoever gives another identity a certificate can act as that identity: a right of its own. NULL = not allowed. */
static struct identity *target(struct core *c, struct request *rq, struct err *e)
{
    bool own = !strcmp(rq->param, rq->identity);
    const struct credential *cr;
    struct identity *i;

    if (authorise_as(c, rq, own ? POLICY_RENEW : POLICY_IDENTITY_RENEW, e))
        return NULL;
    i = state_identity(c->state, rq->param);
    if (!i)
        return err_set(e, ERR_NOT_FOUND, "there is no identity %s", rq->param), NULL;
    cr = used(i, rq);
    if (own && (!cr || !cr->issued))
        return err_set(e, ERR_BAD_CERTIFICATE, "your certificate is not one that this service issued: whoever did renews it"), NULL;
    return i;
}

/* Until when a credential counts: a name under a CA has no end of its own. */
static int64_t end_of(const struct credential *cr)
{
    int64_t until;

    return cr->kind != CREDENTIAL_CERTIFICATE || time_parse(cr->not_after, &until) ? INT64_MAX : until;
}

/* Those that are over go; if as many as there may be are left, the one that ends first, but not the one that is in use. */
static int drop(const struct core *c, const struct request *rq, const struct identity *i, json_t *dropped, struct err *e)
{
    const struct credential *first = NULL;
    unsigned left = 0;

    for (unsigned n = 0; n < i->n_credentials; n++) {
        const struct credential *cr = &i->credential[n];

        if (end_of(cr) <= c->now) {
            json_array_append_new(dropped, json_string(cr->cert_sha256));
            continue;
        }
        left++;
        if (cr->kind == CREDENTIAL_CERTIFICATE && strcmp(cr->cert_sha256, rq->cred) && (!first || end_of(cr) < end_of(first)))
            first = cr;
    }
    if (left < CREDENTIALS_MAX)
        return 0;
    if (!first)
        return err_set(e, ERR_ALREADY_EXISTS, "identity %s has %d credentials, and none that could make room", i->name, CREDENTIALS_MAX);
    json_array_append_new(dropped, json_string(first->cert_sha256));
    return 0;
}

static int record_renewed(struct core *c, struct request *rq, const struct frame *result, struct err *e)
{
    struct span der = result->field[TAG_CERT];
    BUF_AUTO b64 = BUF_INIT(2 * PEM_MAX);
    JSON_AUTO *dropped = json_array();
    struct credential cr = {0};
    struct cert_facts f;
    const struct identity *i;
    json_t *record;

    if (!identify_again(c, rq, e) || !(i = target(c, rq, e)) || cert_facts(der, &f, e) || state_issued(c->state, der, e))
        return -1;
    enrol_bind(&cr, &f);
    if (enrol_free(c, &cr, e) || drop(c, rq, i, dropped, e))
        return -1;
    record = rq->evidence ? record_change(c, rq, "identity.renew", "ok", e) : record_for(c, rq, "identity.renew", "ok");
    if (!record)
        return -1;
    if (!rq->evidence) {
        record_text(record, "idem", rq->idem);
        record_text(record, "body_sha256", rq->body_sha256);
    }
    b64_encode(&b64, der.data, der.len);
    json_object_set_new(record, "detail",
                        json_pack("{s:s, s:o, s:O, s:s}", "certificate_b64", buf_str(&b64), "credential", credential_json(&cr), "dropped", dropped,
                                  "name", i->name));
    return commit(c, record, e);
}

static void on_issued(struct core *c, struct request *rq, const struct frame *result, struct err *e)
{
    if (!result || !frame_has(result, TAG_CERT) || record_renewed(c, rq, result, e)) {
        request_refuse(c, rq, e);
        return;
    }
    reply_committed(c, rq);
}

/* A job's request carries nothing but what the door says of its certificate: a door that lies must not come by a certificate for a key of its own. */
static int same_key(const struct identity *i, const struct request *rq, const char *csr, struct err *e)
{
    BUF_AUTO der = BUF_INIT(PEM_MAX), spki = BUF_INIT(PEM_MAX);
    const struct credential *cr = used(i, rq);
    char hash[SHA256_HEX];

    if (pem_to_der(span_str(csr), "CERTIFICATE REQUEST", &der, e) || csr_check(buf_span(&der), &spki, e))
        return err_context(e, "csr");
    sha256_hex(spki.data, spki.len, hash);
    if (cr && !strcmp(cr->spki_sha256, hash))
        return 0;
    return err_set(e, ERR_BAD_CERTIFICATE, "csr: it is for another key than your certificate; that takes an administrator: kmsctl renew %s --csr "
                                           "FILE --cert-out FILE", i->name);
}

static int renew(struct core *c, struct request *rq, struct err *e)
{
    struct renewal n;
    const struct identity *i;
    int verdict;

    if (parse(rq, &n, e) || !(i = target(c, rq, e)))
        return -1;
    verdict = idem_check(c, rq, e);
    if (verdict)
        return verdict < 0 ? -1 : 0;
    if (room_check(c, e) || (!rq->evidence && same_key(i, rq, n.csr, e)))
        return -1;
    return enrol_issue(c, rq, &(struct issue_request){.csr = n.csr, .kind = i->kind, .name = i->name, .days = n.days}, on_issued, e);
}

int renew_own(struct core *c, struct request *rq, struct err *e)
{
    if (!strcmp(rq->kind, "human"))
        return err_set(e, ERR_FORBIDDEN, "a person renews at the administration door, with a signature: POST /v1/identities/%s/credentials",
                       rq->identity);
    memcpy(rq->param, rq->identity, sizeof rq->param);
    return renew(c, rq, e);
}

int identities_renew(struct core *c, struct request *rq, struct err *e)
{
    return name_check(rq->param, "identity", e) ? -1 : renew(c, rq, e);
}
