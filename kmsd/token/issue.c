/* Issuing: what the core may ask for, read strictly. */
#include "kmsd/token/issue.h"

#include <string.h>

#include "base/enc.h"
#include "base/timefmt.h"
#include "base/x509.h"
#include "kmsd/token/generate.h"

#define PROFILE_MAX 16384

struct kind_row {
    const char *name;
    enum cert_kind kind;
};
static const struct kind_row kinds[] = {{"ci", CERT_CLIENT}, {"service", CERT_CLIENT}, {"human", CERT_CLIENT}, {"server", CERT_SERVER}};

static int read_kind(const char *text, enum cert_kind *out, struct err *e)
{
    for (size_t n = 0; n < sizeof kinds / sizeof *kinds; n++)
        if (!strcmp(text, kinds[n].name)) {
            *out = kinds[n].kind;
            return 0;
        }
    return err_set(e, ERR_BAD_REQUEST, "kind is not one of ci, service, human, server");
}

static int read_time(struct json_reader *r, const char *name, int64_t *out, struct err *e)
{
    const char *text;

    if (json_get_str(r, name, TIME_TEXT, &text, e))
        return -1;
    return time_parse(text, out) ? err_set(e, ERR_BAD_REQUEST, "%s is not a time", name) : 0;
}

static int read_names(struct json_reader *r, const char *name, const char *out[static CERT_NAMES_MAX], size_t *n_out, struct err *e)
{
    const json_t *list;
    size_t n = 0;

    if (json_opt_array(r, name, CERT_NAMES_MAX, &list, e))
        return -1;
    for (; n < json_array_size(list); n++) {
        out[n] = json_string_value(json_array_get(list, n));
        if (!out[n])
            return err_set(e, ERR_BAD_REQUEST, "%s holds something else than strings", name);
    }
    *n_out = n;
    return 0;
}

/* The texts stay in the JSON value. */
static int read_profile(const json_t *json, struct cert_profile *p, struct err *e)
{
    struct json_reader r;
    const char *serial, *kind;

    if (json_begin(&r, json, "", e) || json_get_str(&r, "serial", 2 * CERT_SERIAL_LEN, &serial, e) || json_get_str(&r, "cn", 64, &p->cn, e) ||
        json_get_str(&r, "kind", 16, &kind, e) || read_time(&r, "not_before", &p->not_before, e) || read_time(&r, "not_after", &p->not_after, e) ||
        read_names(&r, "uri", p->uri, &p->n_uri, e) || read_names(&r, "dns", p->dns, &p->n_dns, e) ||
        read_names(&r, "ip", p->ip, &p->n_ip, e) || json_done(&r, e))
        return -1;
    if (hex_decode(serial, strlen(serial), p->serial, sizeof p->serial))
        return err_set(e, ERR_BAD_REQUEST, "serial is not 32 lower-case hexadecimal characters");
    return read_kind(kind, &p->kind, e);
}

/* The key labelled as a CA's whose public key is that of the certificate: there may be one of before. */
static int find_key(struct token *t, struct authority *a, const char *ca_path, struct fault *f)
{
    const struct object_index *index = t->objects;

    for (size_t n = 0; n < index->n; n++) {
        struct object o = index->list[n];
        BUF_AUTO spki = BUF_INIT(SPKI_MAX);

        if (o.class != CKO_PRIVATE_KEY || o.type != method_ca.algorithm->type || strcmp(o.label, LABEL_CA))
            continue;
        if (key_public(t, method_ca.algorithm, span_of(o.id, o.id_len), &spki, f) ||
            key_open(t, &method_ca, span_of(o.id, o.id_len), buf_span(&spki), &a->key, f))
            return -1;
        if (EVP_PKEY_eq(X509_get0_pubkey(a->cert), a->key.public) == 1)
            return 0;
        key_clear(&a->key);
    }
    return fault_set(f, LANE_KEY, "%s is not the certificate of a CA key on the token", ca_path);
}

int authority_open(struct token *t, const char *ca_path, struct authority *out, struct fault *f)
{
    struct authority a = {.cert = cert_load(ca_path, f)};

    if (a.cert && !find_key(t, &a, ca_path, f)) {
        *out = a;
        return 0;
    }
    authority_close(&a);
    return -1;
}

void authority_close(struct authority *a)
{
    key_clear(&a->key);
    X509_free(a->cert);
    a->cert = NULL;
}

int authority_issue_profile(struct token *t, struct authority *a, struct span csr, const struct cert_profile *p, struct buf *der, struct fault *f)
{
    BUF_AUTO spki = BUF_INIT(4096);
    struct err e = {0};
    const uint8_t *at;
    EVP_PKEY *subject;
    int bad;

    if (p->kind == CERT_CA || csr_check(csr, &spki, &e))
        return fault_set(f, LANE_INPUT, "the signing request is not usable: %.200s", e.detail);
    at = spki.data;
    subject = d2i_PUBKEY(NULL, &at, (long)spki.len);
    if (!subject)
        return fault_set(f, LANE_INPUT, "the public key of the signing request is not usable");
    bad = EVP_PKEY_eq(subject, a->key.public) == 1 ? fault_set(f, LANE_INPUT, "the signing request is for the CA key itself")
                                                   : cert_make(t, &a->key, a->cert, subject, p, der, f);
    EVP_PKEY_free(subject);
    return bad;
}

int authority_issue(struct token *t, struct authority *a, struct span csr, struct span profile, struct buf *der, struct fault *f)
{
    struct cert_profile p = {0};
    struct err e = {0};
    JSON_AUTO *json = json_read_object(profile.data, profile.len, PROFILE_MAX, &e);

    if (!json || read_profile(json, &p, &e))
        return fault_err(f, LANE_INPUT, &e);
    return authority_issue_profile(t, a, csr, &p, der, f);
}
