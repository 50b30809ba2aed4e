/* Makes a certificate signing request. */
#include "client/csr.h"

#include <errno.h>
#include <stdio.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "base/x509.h"

/* An encrypted key would ask at a terminal that may not be there. */
static int no_passphrase(char *out, int size, int writing, void *ctx)
{
    (void)out;
    (void)size;
    (void)writing;
    (void)ctx;
    return 0;
}

static EVP_PKEY *read_key(const char *path, struct err *e)
{
    FILE *f = fopen(path, "re");
    EVP_PKEY *key = NULL;

    if (!f)
        return err_errno(e, ERR_BAD_REQUEST, errno, "%s", path), NULL;
    key = PEM_read_PrivateKey(f, NULL, no_passphrase, NULL);
    fclose(f);
    ERR_clear_error();
    if (!key)
        err_set(e, ERR_BAD_REQUEST, "%s holds no private key that can be read without a passphrase", path);
    return key;
}

int csr_make(const char *key_file, struct buf *pem, struct err *e)
{
    EVP_PKEY *key = read_key(key_file, e);
    X509_REQ *csr = key ? X509_REQ_new() : NULL;
    unsigned char *der = NULL;
    int len = -1;

    if (!key)
        return -1;
    if (csr && X509_REQ_set_version(csr, X509_REQ_VERSION_1) == 1 && X509_REQ_set_pubkey(csr, key) == 1 &&
        X509_REQ_sign(csr, key, EVP_PKEY_get_base_id(key) == EVP_PKEY_ED25519 ? NULL : EVP_sha256()) > 0)
        len = i2d_X509_REQ(csr, &der);
    if (len > 0)
        der_to_pem(pem, "CERTIFICATE REQUEST", span_of(der, (size_t)len));
    OPENSSL_free(der);
    X509_REQ_free(csr);
    EVP_PKEY_free(key);
    ERR_clear_error();
    return len > 0 && !buf_ok(pem) ? 0 : err_set(e, ERR_BAD_REQUEST, "no signing request can be made with the key in %s", key_file);
}
