/* Creates identities: with a certificate issued for a signing request, or bound by certificate or SAN. */
#include <stdlib.h>
#include <string.h>

#include "base/enc.h"
#include "base/sshsig.h"
#include "base/timefmt.h"
#include "kmsd/core/internal.h"

#define ISSUE_TIME (15 * TIME_SECOND_US)
#define DAY (86400 * TIME_SECOND_US)
#define PEM_MAX 16384

struct enrol {
    const char *kind, *name, *csr, *certificate, *spiffe, *dns, *ca;
    const json_t *ssh;
    int64_t days;
};

static int parse(struct request *rq, struct enrol *n, struct err *e)
{
    struct json_reader r;

    memset(n, 0, sizeof *n);
    if (request_json(rq, &r, e) || json_get_str(&r, "kind", 16, &n->kind, e) || json_opt_str(&r, "name", 1024, &n->name, e) ||
        json_opt_str(&r, "csr", PEM_MAX, &n->csr, e) || json_opt_str(&r, "certificate", PEM_MAX, &n->certificate, e) ||
        json_opt_str(&r, "spiffe", X509_SAN_TEXT - 1, &n->spiffe, e) || json_opt_str(&r, "dns", X509_SAN_TEXT - 1, &n->dns, e) ||
        json_opt_str(&r, "ca", PEM_MAX, &n->ca, e) || json_opt_array(&r, "ssh", SSH_KEYS_MAX, &n->ssh, e) ||
        json_opt_int(&r, "days", 1, 398, 90, &n->days, e) || json_done(&r, e))
        return -1;
    if (!!n->csr + !!n->certificate + !!n->spiffe + !!n->dns != 1)
        return err_set(e, ERR_BAD_REQUEST, "exactly one of csr, certificate, spiffe and dns says how the identity proves itself");
    if (!n->ca != !(n->spiffe || n->dns))
        return err_set(e, ERR_BAD_REQUEST, "ca goes with spiffe or dns: the certificate of the CA that the name counts under");
    return 0;
}

static int check_kind(const struct enrol *n, struct err *e)
{
    bool human = !strcmp(n->kind, "human");

    if (!human && strcmp(n->kind, "ci") && strcmp(n->kind, "service"))
        return err_set(e, ERR_BAD_REQUEST, "kind must be ci, service or human");
    if (human && n->name)
        return err_set(e, ERR_BAD_REQUEST, "a person gets a random handle; leave name out, and keep who it is in your own directory");
    if (!human && !n->name)
        return err_set(e, ERR_BAD_REQUEST, "name is missing");
    if (!human && json_array_size(n->ssh))
        return err_set(e, ERR_BAD_REQUEST, "ssh keys are for people; kind is %s", n->kind);
    if (human && !json_array_size(n->ssh))
        return err_set(e, ERR_BAD_REQUEST, "a person needs at least one SSH public key in ssh");
    if (!human && !strncmp(n->name, "h-", 2))
        return err_set(e, ERR_BAD_NAME, "names that begin with h- are kept for people");
    return human ? 0 : name_check(n->name, "name", e);
}

static int take_ssh(const json_t *list, struct identity *i, struct err *e)
{
    for (size_t n = 0; n < json_array_size(list); n++) {
        const char *line = json_string_value(json_array_get(list, n));
        char bare[SSH_KEY_TEXT_MAX];

        if (!line || ssh_key_normalise(line, bare, sizeof bare, e))
            return line ? err_context(e, "ssh[%zu]", n) : err_set(e, ERR_BAD_REQUEST, "ssh[%zu] is not a text", n);
        i->ssh[i->n_ssh] = strdup(bare);
        if (!i->ssh[i->n_ssh++])
            return err_set(e, ERR_BUSY, "the service is out of memory");
    }
    return 0;
}

/* The body of this request stays in the log for good; a person's name must not be in it. */
static int check_nameless(const char *kind, struct span der, bool csr, struct err *e)
{
    if (strcmp(kind, "human") || !x509_names_subject(der, csr))
        return 0;
    return err_set(e, ERR_BAD_CERTIFICATE, "%s names its subject, and the log keeps this request: make one without (openssl req -subj /)",
                   csr ? "the signing request of a person" : "the certificate of a person");
}

static void bind_certificate(struct credential *cr, const struct cert_facts *f, bool issued)
{
    cr->kind = CREDENTIAL_CERTIFICATE;
    cr->issued = issued;
    hex_encode(f->sha256, SHA256_LEN, cr->cert_sha256);
    hex_encode(f->spki_sha256, SHA256_LEN, cr->spki_sha256);
    time_format(f->not_after, cr->not_after);
}

void enrol_bind(struct credential *cr, const struct cert_facts *f)
{
    bind_certificate(cr, f, true);
}

/* One certificate belongs to one identity, also under another identity's name. */
int enrol_free(const struct core *c, const struct credential *cr, struct err *e)
{
    char id[SHA256_HEX + 2] = "c:";

    memcpy(id + 2, cr->cert_sha256, SHA256_HEX);
    return state_credential(c->state, id) ? err_set(e, ERR_ALREADY_EXISTS, "this certificate belongs to an identity already") : 0;
}

static int by_certificate(struct core *c, const struct enrol *n, struct identity *i, struct err *e)
{
    BUF_AUTO der = BUF_INIT(PEM_MAX);
    struct cert_facts f;

    if (pem_to_der(span_str(n->certificate), "CERTIFICATE", &der, e) || cert_facts(buf_span(&der), &f, e) ||
        check_nameless(n->kind, buf_span(&der), false, e))
        return err_context(e, "certificate");
    if (!f.client_auth || f.is_ca || f.not_after <= c->clock.wall)
        return err_set(e, ERR_BAD_CERTIFICATE, "certificate: %s", f.is_ca ? "it is a CA" : f.client_auth ? "it has expired" : "it lacks the extended key usage clientAuth");
    bind_certificate(&i->credential[i->n_credentials++], &f, false);
    return enrol_free(c, &i->credential[0], e);
}

static int name_text(const char *text, const char *prefix, struct err *e)
{
    size_t n = strlen(prefix);

    if (strncmp(text, prefix, n) || !text[n])
        return err_set(e, ERR_BAD_NAME, "%.64s is not a %s name", text, n ? "SPIFFE" : "DNS");
    for (const char *p = text; *p; p++)
        if ((unsigned char)*p <= 0x20 || (unsigned char)*p >= 0x7f || *p == '*')
            return err_set(e, ERR_BAD_NAME, "%.64s has a character that such a name does not take", text);
    return 0;
}

static int by_name(struct core *c, const struct enrol *n, struct identity *i, struct err *e)
{
    struct credential *cr = &i->credential[i->n_credentials++];
    BUF_AUTO der = BUF_INIT(PEM_MAX), id = BUF_INIT(1024);
    const char *value = n->spiffe ? n->spiffe : n->dns;
    struct cert_facts ca;

    cr->kind = n->spiffe ? CREDENTIAL_SPIFFE : CREDENTIAL_DNS;
    cr->ca_spki = BUF_INIT(4096);
    if (name_text(value, n->spiffe ? "spiffe://" : "", e) || pem_to_der(span_str(n->ca), "CERTIFICATE", &der, e) ||
        cert_facts(buf_span(&der), &ca, e) || cert_spki(buf_span(&der), &cr->ca_spki, e))
        return -1;
    if (!ca.is_ca)
        return err_set(e, ERR_BAD_CERTIFICATE, "ca: it is not the certificate of a CA");
    memcpy(cr->value, value, strlen(value) + 1);
    sha256_hex(cr->ca_spki.data, cr->ca_spki.len, cr->ca_spki_sha256);
    buf_printf(&id, "s:%s:%s:%s", cr->ca_spki_sha256, n->spiffe ? "spiffe" : "dns", value);
    return state_credential(c->state, buf_str(&id)) ? err_set(e, ERR_ALREADY_EXISTS, "that name belongs to an identity already") : 0;
}

static int record_identity(struct core *c, struct request *rq, const struct identity *i, struct span certificate, struct err *e)
{
    json_t *record = record_change(c, rq, "identity.create", "ok", e), *detail;
    BUF_AUTO b64 = BUF_INIT(2 * PEM_MAX);

    if (!record)
        return -1;
    detail = json_pack("{s:o}", "identity", identity_json(i));
    if (certificate.len) {
        b64_encode(&b64, certificate.data, certificate.len);
        record_text(detail, "certificate_b64", buf_str(&b64));
    }
    json_object_set_new(record, "detail", detail);
    return commit(c, record, e);
}

struct key_owner {
    const struct identity *asking;
    bool found;
};

static bool has_one_of_these(void *ctx, struct identity *other)
{
    struct key_owner *o = ctx;

    for (unsigned n = 0; n < other->n_ssh; n++)
        for (unsigned i = 0; i < o->asking->n_ssh; i++)
            o->found |= !strcmp(other->ssh[n], o->asking->ssh[i]);
    return !o->found;
}

/* One SSH key belongs to one person: or else one person could be two where two are asked for. */
static int ssh_free(const struct core *c, const struct identity *i, struct err *e)
{
    struct key_owner o = {.asking = i};

    if (i->n_ssh)
        state_each_identity(c->state, "", has_one_of_these, &o);
    return o.found ? err_set(e, ERR_ALREADY_EXISTS, "an SSH key of ssh belongs to an identity already") : 0;
}

static int build(struct core *c, struct request *rq, const struct enrol *n, struct identity *i, struct err *e)
{
    memset(i, 0, sizeof *i);
    memcpy(i->name, rq->param, sizeof i->name);
    memcpy(i->kind, n->kind, strlen(n->kind) + 1);
    if (state_identity(c->state, i->name))
        return err_set(e, ERR_ALREADY_EXISTS, "there is an identity %s", i->name);
    return take_ssh(n->ssh, i, e) || ssh_free(c, i, e) ? -1 : 0;
}

static int record_issued(struct core *c, struct request *rq, const struct frame *result, struct err *e)
{
    struct span der = result->field[TAG_CERT];
    struct enrol n;
    struct identity i = {0};
    struct cert_facts f;
    int failed;

    if (!identify_again(c, rq, e) || authorise(c, rq, NULL, NULL, NULL, e) || parse(rq, &n, e) || cert_facts(der, &f, e) ||
        state_issued(c->state, der, e))
        return -1;
    failed = build(c, rq, &n, &i, e);
    if (!failed) {
        enrol_bind(&i.credential[i.n_credentials++], &f);
        failed = enrol_free(c, &i.credential[0], e) || record_identity(c, rq, &i, der, e) ? -1 : 0;
    }
    identity_clear(&i);
    return failed;
}

static void on_issued(struct core *c, struct request *rq, const struct frame *result, struct err *e)
{
    if (!result || !frame_has(result, TAG_CERT) || record_issued(c, rq, result, e)) {
        request_refuse(c, rq, e);
        return;
    }
    reply_committed(c, rq);
}

static json_t *profile(struct core *c, const struct issue_request *n)
{
    uint8_t serial[16];
    char hex[33], from[TIME_TEXT], to[TIME_TEXT];

    c->io.random(c->io.ctx, serial, sizeof serial);
    serial[0] &= 0x7f;
    hex_encode(serial, sizeof serial, hex);
    time_format(c->clock.wall - 300 * TIME_SECOND_US, from);
    time_format(c->clock.wall + n->days * DAY, to);
    return json_pack("{s:s, s:s, s:s, s:s, s:s}", "serial", hex, "cn", n->name, "kind", n->kind, "not_before", from, "not_after", to);
}

int enrol_issue(struct core *c, struct request *rq, const struct issue_request *n,
                void (*done)(struct core *c, struct request *rq, const struct frame *result, struct err *e), struct err *e)
{
    BUF_AUTO der = BUF_INIT(PEM_MAX), text = BUF_INIT(4096);
    JSON_AUTO *p = profile(c, n);
    struct lane_op *op;
    size_t mark;

    if (pem_to_der(span_str(n->csr), "CERTIFICATE REQUEST", &der, e) || csr_check(buf_span(&der), NULL, e) ||
        check_nameless(n->kind, buf_span(&der), true, e))
        return err_context(e, "csr");
    json_canonical(&text, p);
    op = lane_op_new(CHILD_LANE_ADMIN, FRAME_ISSUE, c->clock.boot + ISSUE_TIME, 1, done, rq);
    if (!op)
        return err_set(e, ERR_BUSY, "the service is out of memory");
    mark = frame_begin(&op->frame, FRAME_ISSUE, 0);
    frame_put(&op->frame, TAG_CSR, buf_span(&der));
    frame_put(&op->frame, TAG_PROFILE, buf_span(&text));
    frame_end(&op->frame, mark);
    flight_begin(c, rq);
    lane_submit(c, op);
    return 0;
}

/* The name stands in rq->param from here on: the given one, or a person's new handle. */
static void choose_name(struct core *c, struct request *rq, const struct enrol *n)
{
    uint8_t bytes[8];

    if (rq->param[0])
        return;
    if (n->name) {
        memcpy(rq->param, n->name, strlen(n->name) + 1);
        return;
    }
    c->io.random(c->io.ctx, bytes, sizeof bytes);
    memcpy(rq->param, "h-", 3);
    hex_encode(bytes, sizeof bytes, rq->param + 2);
}

int identities_create(struct core *c, struct request *rq, struct err *e)
{
    struct enrol n;
    struct identity i = {0};
    int verdict;

    if (parse(rq, &n, e) || check_kind(&n, e) || authorise(c, rq, NULL, NULL, NULL, e))
        return -1;
    verdict = idem_check(c, rq, e);
    if (verdict)
        return verdict < 0 ? -1 : 0;
    choose_name(c, rq, &n);
    verdict = build(c, rq, &n, &i, e);
    if (!verdict && !n.csr)
        verdict = (n.certificate ? by_certificate(c, &n, &i, e) : by_name(c, &n, &i, e)) || record_identity(c, rq, &i, (struct span){0}, e) ? -1 : 0;
    identity_clear(&i);
    if (verdict)
        return -1;
    if (n.csr)
        return enrol_issue(c, rq, &(struct issue_request){.csr = n.csr, .kind = n.kind, .name = rq->param, .days = n.days}, on_issued, e);
    reply_committed(c, rq);
    return 0;
}
