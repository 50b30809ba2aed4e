/* Certificates: the server's own, and the verdict on the client's, reached inside the handshake. */
#include <errno.h>
#include <gnutls/x509.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fsutil.h"
#include "kmsd/front/front.h"

static struct {
    gnutls_pcert_st chain[4];
    unsigned n_chain;
    gnutls_privkey_t key;
    struct buf trust;
} tls;

const char *tls_trust(void)
{
    return buf_str(&tls.trust);
}

static gnutls_datum_t datum(const struct buf *b)
{
    return (gnutls_datum_t){.data = b->data, .size = (unsigned)b->len};
}

static int load_chain(struct err *e)
{
    BUF_AUTO pem = BUF_INIT(65536);
    gnutls_datum_t d;

    if (file_read(front.settings.tls_certificate, &pem, e))
        return -1;
    d = datum(&pem);
    tls.n_chain = sizeof tls.chain / sizeof *tls.chain;
    if (gnutls_pcert_list_import_x509_raw(tls.chain, &tls.n_chain, &d, GNUTLS_X509_FMT_PEM, 0) < 0)
        return err_set(e, ERR_BAD_CERTIFICATE, "%s holds no usable certificate", front.settings.tls_certificate);
    return 0;
}

/* A key that others may read is a key that others have. */
static int check_private(const char *path, struct err *e)
{
    struct stat st;

    if (stat(path, &st))
        return err_errno(e, ERR_BAD_REQUEST, errno, "%s", path);
    return st.st_mode & 077 ? err_set(e, ERR_BAD_REQUEST, "%s may be read by others: chmod 0600 %s", path, path) : 0;
}

static int load_key(struct err *e)
{
    struct buf pem = BUF_INIT(65536);
    gnutls_datum_t d;
    int failed = check_private(front.settings.tls_key, e) || file_read(front.settings.tls_key, &pem, e) ? -1 : 0;

    d = datum(&pem);
    if (!failed && (gnutls_privkey_init(&tls.key) < 0 || gnutls_privkey_import_x509_raw(tls.key, &d, GNUTLS_X509_FMT_PEM, NULL, 0) < 0))
        failed = err_set(e, ERR_BAD_CERTIFICATE, "%s holds no usable private key", front.settings.tls_key);
    buf_wipe(&pem);
    return failed;
}

/* What is not PEM would only make the library refuse to start, without saying why. */
static int load_trusted(const char *path, struct err *e)
{
    BUF_AUTO pem = BUF_INIT(1u << 20);
    gnutls_x509_crt_t *list = NULL;
    gnutls_datum_t d;
    unsigned count = 0;

    if (file_read(path, &pem, e))
        return -1;
    d = datum(&pem);
    if (gnutls_x509_crt_list_import2(&list, &count, &d, GNUTLS_X509_FMT_PEM, 0) < 0 || !count)
        return err_set(e, ERR_BAD_CERTIFICATE, "%s holds no usable CA certificate", path);
    for (unsigned n = 0; n < count; n++)
        gnutls_x509_crt_deinit(list[n]);
    gnutls_free(list);
    buf_put(&tls.trust, pem.data, pem.len);
    buf_putc(&tls.trust, '\n');
    return 0;
}

static int key_id(gnutls_pubkey_t key, uint8_t id[32])
{
    size_t size = 32;

    return gnutls_pubkey_get_key_id(key, GNUTLS_KEYID_USE_SHA256, id, &size);
}

/* A pair that does not match would let kmsd start, and fail every handshake. */
static int check_pair(struct err *e)
{
    uint8_t of_key[32], of_certificate[32];
    gnutls_pubkey_t key;
    int failed = gnutls_pubkey_init(&key);

    if (failed >= 0) {
        failed = gnutls_pubkey_import_privkey(key, tls.key, 0, 0) < 0 || key_id(key, of_key) < 0 || key_id(tls.chain[0].pubkey, of_certificate) < 0 ||
                 memcmp(of_key, of_certificate, sizeof of_key);
        gnutls_pubkey_deinit(key);
    }
    return failed ? err_set(e, ERR_BAD_CERTIFICATE, "the key in %s is not that of the certificate in %s", front.settings.tls_key,
                            front.settings.tls_certificate)
                  : 0;
}

int tls_load(struct err *e)
{
    tls.trust = BUF_INIT(1u << 20);
    for (unsigned n = 0; n < front.settings.n_client_ca; n++)
        if (load_trusted(front.settings.client_ca[n], e))
            return -1;
    if (buf_ok(&tls.trust))
        return err_set(e, ERR_BAD_CERTIFICATE, "the client CA files are longer than 1 MiB together");
    return load_chain(e) || load_key(e) || check_pair(e) ? -1 : 0;
}

/* Named among the extended key usages: none at all, or any usage, would pass the library's own check. */
static bool names_client_auth(gnutls_x509_crt_t crt)
{
    char oid[128];
    size_t size = sizeof oid;

    for (unsigned i = 0; gnutls_x509_crt_get_key_purpose_oid(crt, i, oid, &size, NULL) >= 0; i++, size = sizeof oid)
        if (!strcmp(oid, GNUTLS_KP_TLS_WWW_CLIENT))
            return true;
    return false;
}

/* A certificate for a client, and no CA's. */
static bool is_for_clients(gnutls_session_t session)
{
    unsigned n = 0;
    const gnutls_datum_t *peers = gnutls_certificate_get_peers(session, &n);
    gnutls_x509_crt_t crt;
    bool found = false;

    if (!peers || !n || gnutls_x509_crt_init(&crt) < 0)
        return false;
    if (gnutls_x509_crt_import(crt, &peers[0], GNUTLS_X509_FMT_DER) >= 0)
        found = gnutls_x509_crt_get_ca_status(crt, NULL) <= 0 && names_client_auth(crt);
    gnutls_x509_crt_deinit(crt);
    return found;
}

static const char *reason_of(unsigned status)
{
    if (status & GNUTLS_CERT_EXPIRED)
        return "tls-expired";
    if (status & GNUTLS_CERT_NOT_ACTIVATED)
        return "tls-not-yet-valid";
    if (status & GNUTLS_CERT_PURPOSE_MISMATCH)
        return "tls-wrong-purpose";
    return "tls-untrusted";
}

static int verify(gnutls_session_t session)
{
    gnutls_typed_vdata_st want = {.type = GNUTLS_DT_KEY_PURPOSE_OID, .data = (unsigned char *)(uintptr_t)GNUTLS_KP_TLS_WWW_CLIENT};
    struct conn *c = conn_of(session);
    unsigned status = 0;

    if (!c)
        return GNUTLS_E_CERTIFICATE_ERROR;
    if (gnutls_certificate_verify_peers(session, &want, 1, &status) < 0)
        c->tls_reason = "tls-untrusted"; /* a chain that cannot be judged; GnuTLS itself refuses none at all */
    else if (status)
        c->tls_reason = reason_of(status);
    else if (!is_for_clients(session))
        c->tls_reason = "tls-wrong-purpose";
    else
        c->verified = true;
    return c->verified ? 0 : GNUTLS_E_CERTIFICATE_ERROR;
}

struct span tls_shown(void)
{
    return span_of(tls.chain[0].cert.data, tls.chain[0].cert.size);
}

/* Called within the handshake, before the certificate request goes out: the one place where both can still be set. */
int tls_certificate(gnutls_session_t session, const gnutls_datum_t *req_ca_dn, int nreqs, const gnutls_pk_algorithm_t *pk_algos, int n_pk_algos,
                    gnutls_pcert_st **pcert, unsigned int *n_pcert, gnutls_privkey_t *key)
{
    (void)req_ca_dn;
    (void)nreqs;
    (void)pk_algos;
    (void)n_pk_algos;
    gnutls_certificate_server_set_request(session, GNUTLS_CERT_REQUIRE);
    gnutls_session_set_verify_function(session, verify);
    *pcert = tls.chain;
    *n_pcert = tls.n_chain;
    *key = tls.key;
    return 0;
}
