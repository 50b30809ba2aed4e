/* Facts of certificates and signing requests. */
#include "base/x509.h"

#include <openssl/err.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "base/pkey.h"

static void x509_free(X509 **x)
{
    X509_free(*x);
    ERR_clear_error();
}
#define X509_AUTO __attribute__((cleanup(x509_free))) X509

/* OpenSSL reads BER too. Writing it anew must give the same bytes, or one certificate could have several hashes. */
static bool is_der(X509 *x, struct span der)
{
    unsigned char *again = NULL;
    int n = i2d_re_X509_tbs(x, NULL) > 0 ? i2d_X509(x, &again) : 0;
    bool same = n > 0 && span_eq(span_of(again, (size_t)n), der);

    OPENSSL_free(again);
    return same;
}

static X509 *load(struct span der, struct err *e)
{
    const unsigned char *at = der.data;
    X509 *x = der.len ? d2i_X509(NULL, &at, (long)der.len) : NULL;

    if (x && at == der.data + der.len && is_der(x, der) && !(X509_get_extension_flags(x) & EXFLAG_INVALID))
        return x;
    x509_free(&x);
    err_set(e, ERR_BAD_CERTIFICATE, "the certificate does not parse");
    return NULL;
}

static int to_us(const ASN1_TIME *t, int64_t *us)
{
    struct tm tm;
    int days, seconds;
    ASN1_TIME *epoch = ASN1_TIME_set(NULL, 0);
    int ok = epoch && ASN1_TIME_to_tm(t, &tm) && ASN1_TIME_diff(&days, &seconds, epoch, t);

    ASN1_TIME_free(epoch);
    if (ok)
        *us = ((int64_t)days * 86400 + seconds) * INT64_C(1000000);
    return ok ? 0 : -1;
}

static int spki_hash(X509 *x, uint8_t out[static SHA256_LEN])
{
    unsigned char *der = NULL;
    int n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &der);

    if (n <= 0)
        return -1;
    sha256(der, (size_t)n, out);
    OPENSSL_free(der);
    return 0;
}

static bool has_client_auth(X509 *x)
{
    EXTENDED_KEY_USAGE *eku = X509_get_ext_d2i(x, NID_ext_key_usage, NULL, NULL);
    bool found = false;

    for (int n = 0; n < sk_ASN1_OBJECT_num(eku); n++)
        found |= OBJ_obj2nid(sk_ASN1_OBJECT_value(eku, n)) == NID_client_auth;
    sk_ASN1_OBJECT_pop_free(eku, ASN1_OBJECT_free);
    return found;
}

/* A name with anything but printable ASCII is left out: it can match nothing. */
static void take_name(const ASN1_IA5STRING *s, char list[][X509_SAN_TEXT], unsigned *n)
{
    int len = ASN1_STRING_length(s);
    const unsigned char *data = ASN1_STRING_get0_data(s);

    if (*n == X509_SAN_MAX || len <= 0 || len >= X509_SAN_TEXT)
        return;
    for (int i = 0; i < len; i++)
        if (data[i] <= 0x20 || data[i] >= 0x7f)
            return;
    memcpy(list[*n], data, (size_t)len);
    list[(*n)++][len] = '\0';
}

static void names(X509 *x, struct cert_facts *out)
{
    GENERAL_NAMES *list = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);

    for (int n = 0; n < sk_GENERAL_NAME_num(list); n++) {
        const GENERAL_NAME *g = sk_GENERAL_NAME_value(list, n);

        if (g->type == GEN_URI)
            take_name(g->d.uniformResourceIdentifier, out->uri, &out->n_uri);
        else if (g->type == GEN_DNS)
            take_name(g->d.dNSName, out->dns, &out->n_dns);
    }
    GENERAL_NAMES_free(list);
}

int cert_facts(struct span der, struct cert_facts *out, struct err *e)
{
    X509_AUTO *x = load(der, e);
    struct cert_facts f = {0};

    if (!x)
        return -1;
    sha256(der.data, der.len, f.sha256);
    if (spki_hash(x, f.spki_sha256) || to_us(X509_get0_notBefore(x), &f.not_before) || to_us(X509_get0_notAfter(x), &f.not_after))
        return err_set(e, ERR_BAD_CERTIFICATE, "the certificate has an unusable key or validity");
    f.client_auth = has_client_auth(x);
    f.is_ca = X509_check_ca(x) == 1;
    names(x, &f);
    *out = f;
    return 0;
}

int cert_signed_by(struct span cert_der, struct span spki_der, struct err *e)
{
    X509_AUTO *x = load(cert_der, e);
    const unsigned char *at = spki_der.data;
    EVP_PKEY *k = x && spki_der.len ? d2i_PUBKEY(NULL, &at, (long)spki_der.len) : NULL;
    int good = k && at == spki_der.data + spki_der.len && X509_verify(x, k) == 1;

    EVP_PKEY_free(k);
    if (!x)
        return -1;
    return good ? 0 : err_set(e, ERR_BAD_CERTIFICATE, "the certificate is not signed by that CA");
}

bool cert_is_named(struct span der, const char *cn)
{
    struct err e = {0};
    X509_AUTO *x = load(der, &e);
    const X509_NAME *name = x ? X509_get_subject_name(x) : NULL;
    const X509_NAME_ENTRY *entry = name && X509_NAME_entry_count(name) == 1 ? X509_NAME_get_entry(name, 0) : NULL;
    const ASN1_STRING *text = entry ? X509_NAME_ENTRY_get_data(entry) : NULL;

    return text && OBJ_obj2nid(X509_NAME_ENTRY_get_object(entry)) == NID_commonName && ASN1_STRING_type(text) == V_ASN1_UTF8STRING &&
           span_eq_str(span_of(ASN1_STRING_get0_data(text), (size_t)ASN1_STRING_length(text)), cn);
}

int cert_spki(struct span cert_der, struct buf *spki, struct err *e)
{
    X509_AUTO *x = load(cert_der, e);
    unsigned char *der = NULL;
    int n = x ? i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &der) : 0;

    if (!x)
        return -1;
    buf_put(spki, der, n > 0 ? (size_t)n : 0);
    OPENSSL_free(der);
    return n > 0 && !buf_ok(spki) ? 0 : err_set(e, ERR_BAD_CERTIFICATE, "the certificate has an unusable key");
}

static int csr_key(X509_REQ *req, struct buf *spki, struct err *e)
{
    EVP_PKEY *k = X509_REQ_get0_pubkey(req);
    unsigned char *der = NULL;
    int n;

    if (!k || pkey_kind(k) == PKEY_OTHER)
        return err_set(e, ERR_BAD_CERTIFICATE, "the key of the request must be P-256, P-384, Ed25519 or RSA with 2048 to 8192 bits");
    if (X509_REQ_verify(req, k) != 1)
        return err_set(e, ERR_BAD_CERTIFICATE, "the request is not signed with its own key");
    if (!spki)
        return 0;
    n = i2d_PUBKEY(k, &der);
    buf_put(spki, der, n > 0 ? (size_t)n : 0);
    OPENSSL_free(der);
    return n > 0 && !buf_ok(spki) ? 0 : err_set(e, ERR_INTERNAL, "out of memory");
}

int csr_check(struct span csr_der, struct buf *spki, struct err *e)
{
    const unsigned char *at = csr_der.data;
    X509_REQ *req = csr_der.len ? d2i_X509_REQ(NULL, &at, (long)csr_der.len) : NULL;
    bool whole = req && at == csr_der.data + csr_der.len;
    int failed = whole ? csr_key(req, spki, e) : err_set(e, ERR_BAD_CERTIFICATE, "the signing request does not parse");

    X509_REQ_free(req);
    ERR_clear_error();
    return failed;
}

bool x509_names_subject(struct span der, bool csr)
{
    const unsigned char *at = der.data;
    X509_REQ *req = csr && der.len ? d2i_X509_REQ(NULL, &at, (long)der.len) : NULL;
    X509 *crt = !csr && der.len ? d2i_X509(NULL, &at, (long)der.len) : NULL;
    const X509_NAME *name = req ? X509_REQ_get_subject_name(req) : crt ? X509_get_subject_name(crt) : NULL;
    bool named = !name || X509_NAME_entry_count(name) > 0;

    X509_REQ_free(req);
    X509_free(crt);
    ERR_clear_error();
    return named;
}
