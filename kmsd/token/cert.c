/* The two certificate profiles (CA, leaf) as OpenSSL objects. */
#include "kmsd/token/cert.h"

#include <string.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "base/fsutil.h"
#include "base/timefmt.h"
#include "base/x509.h"
#include "kmsd/token/certsign.h"

#define CN_MAX 64
#define CERT_FILE_MAX 65536

struct extension {
    int nid;
    const char *value;
};
static const struct extension leaf_extensions[] = {
    {NID_basic_constraints, "critical,CA:FALSE"},
    {NID_key_usage, "critical,digitalSignature"},
    {NID_subject_key_identifier, "hash"},
    {NID_authority_key_identifier, "keyid:always"},
    {0, NULL},
};
static const struct extension ca_extensions[] = {
    {NID_basic_constraints, "critical,CA:TRUE,pathlen:0"},
    {NID_key_usage, "critical,keyCertSign,cRLSign"},
    {NID_subject_key_identifier, "hash"},
    {0, NULL},
};
static const struct extension client_usage[] = {{NID_ext_key_usage, "clientAuth"}, {0, NULL}};
static const struct extension server_usage[] = {{NID_ext_key_usage, "serverAuth"}, {0, NULL}};

static bool plain_text(const char *s, size_t max, const char *also)
{
    size_t len = strlen(s);

    for (const char *p = s; *p; p++)
        if (!(*p >= 'a' && *p <= 'z') && !(*p >= 'A' && *p <= 'Z') && !(*p >= '0' && *p <= '9') && !strchr(also, *p))
            return false;
    return len > 0 && len <= max;
}

static int check_profile(const struct cert_profile *p, struct fault *f)
{
    if (!plain_text(p->cn, CN_MAX, p->kind == CERT_CA ? "._- " : "._-"))
        return fault_set(f, LANE_INPUT, "the common name takes 1 to %d characters of [A-Za-z0-9._-]", CN_MAX);
    if (p->not_after <= p->not_before || (p->kind != CERT_CA && p->not_after - p->not_before > CERT_LEAF_MAX + CERT_BACKDATE_MAX))
        return fault_set(f, LANE_INPUT, "a certificate is valid for more than nothing and at most 398 days");
    for (size_t n = 0; n < p->n_uri; n++)
        if (!plain_text(p->uri[n], 255, "-._~:/?#[]@!$&'()*+,;=%") || !strstr(p->uri[n], "://"))
            return fault_set(f, LANE_INPUT, "a URI name is not an absolute URI of at most 255 characters");
    for (size_t n = 0; n < p->n_dns; n++)
        if (!plain_text(p->dns[n], 253, ".-*"))
            return fault_set(f, LANE_INPUT, "a DNS name has characters outside [A-Za-z0-9.*-] or is too long");
    return 0;
}

static int add_extensions(X509 *x, X509 *issuer, const struct extension *e)
{
    X509V3_CTX ctx;

    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer ? issuer : x, x, NULL, NULL, 0);
    for (; e->value; e++) {
        X509_EXTENSION *ext = X509V3_EXT_nconf_nid(NULL, &ctx, e->nid, e->value);
        int ok = ext && X509_add_ext(x, ext, -1) == 1;

        X509_EXTENSION_free(ext);
        if (!ok)
            return -1;
    }
    return 0;
}

static int add_text_name(GENERAL_NAMES *names, int type, const char *text)
{
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_IA5STRING *value = ASN1_IA5STRING_new();

    if (name && value && ASN1_STRING_set(value, text, -1)) {
        GENERAL_NAME_set0_value(name, type, value);
        if (sk_GENERAL_NAME_push(names, name))
            return 0;
        value = NULL; /* owned by name */
    }
    ASN1_IA5STRING_free(value);
    GENERAL_NAME_free(name);
    return -1;
}

static int add_ip(GENERAL_NAMES *names, const char *text)
{
    GENERAL_NAME *name = a2i_GENERAL_NAME(NULL, NULL, NULL, GEN_IPADD, text, 0);

    if (name && sk_GENERAL_NAME_push(names, name))
        return 0;
    GENERAL_NAME_free(name);
    return -1;
}

/* Built by hand and not from configuration text, in which a comma would start another name. */
static int add_names(X509 *x, const struct cert_profile *p)
{
    GENERAL_NAMES *names;
    int bad = 0;

    if (!p->n_uri && !p->n_dns && !p->n_ip)
        return 0;
    names = GENERAL_NAMES_new();
    if (!names)
        return -1;
    for (size_t n = 0; n < p->n_uri; n++)
        bad |= add_text_name(names, GEN_URI, p->uri[n]);
    for (size_t n = 0; n < p->n_dns; n++)
        bad |= add_text_name(names, GEN_DNS, p->dns[n]);
    for (size_t n = 0; n < p->n_ip; n++)
        bad |= add_ip(names, p->ip[n]);
    if (!bad && X509_add1_ext_i2d(x, NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT) != 1)
        bad = -1;
    GENERAL_NAMES_free(names);
    return bad;
}

static int set_serial(X509 *x, const uint8_t serial[static CERT_SERIAL_LEN])
{
    BIGNUM *n = BN_bin2bn(serial, CERT_SERIAL_LEN, NULL);
    int ok = n && !BN_is_zero(n) && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(x));

    BN_free(n);
    return ok ? 0 : -1;
}

static int fill(X509 *x, X509 *issuer, EVP_PKEY *subject, const struct cert_profile *p)
{
    X509_NAME *name = X509_get_subject_name(x);
    bool ca = p->kind == CERT_CA;

    if (X509_set_version(x, X509_VERSION_3) != 1 || set_serial(x, p->serial) || X509_set_pubkey(x, subject) != 1)
        return -1;
    if (X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)p->cn, -1, -1, 0) != 1)
        return -1;
    if (X509_set_issuer_name(x, issuer ? X509_get_subject_name(issuer) : name) != 1)
        return -1;
    if (!ASN1_TIME_set(X509_getm_notBefore(x), p->not_before / TIME_SECOND) || !ASN1_TIME_set(X509_getm_notAfter(x), p->not_after / TIME_SECOND))
        return -1;
    if (add_extensions(x, issuer, ca ? ca_extensions : leaf_extensions))
        return -1;
    if (!ca && add_extensions(x, issuer, p->kind == CERT_SERVER ? server_usage : client_usage))
        return -1;
    return add_names(x, p);
}

int cert_make(struct token *t, struct key *ca, X509 *issuer, EVP_PKEY *subject, const struct cert_profile *p, struct buf *der, struct fault *f)
{
    X509 *x;
    int bad;

    if (check_profile(p, f))
        return -1;
    x = X509_new();
    if (!x || fill(x, issuer, subject, p))
        bad = fault_set(f, LANE_INPUT, "the certificate cannot be built from this profile");
    else
        bad = cert_sign(t, ca, x, der, f);
    X509_free(x);
    ERR_clear_error();
    return bad;
}

X509 *cert_load(const char *path, struct fault *f)
{
    BUF_AUTO pem = BUF_INIT(CERT_FILE_MAX);
    BUF_AUTO der = BUF_INIT(CERT_FILE_MAX);
    struct err e = {0};
    const uint8_t *p;
    X509 *x;

    if (file_read(path, &pem, &e) || pem_to_der(buf_span(&pem), "CERTIFICATE", &der, &e)) {
        fault_err(f, LANE_KEY, &e);
        return NULL;
    }
    p = der.data;
    x = d2i_X509(NULL, &p, (long)der.len);
    if (!x)
        fault_set(f, LANE_KEY, "%s is not a certificate", path);
    return x;
}
