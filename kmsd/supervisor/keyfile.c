/* Private keys in files, for the development server's own clients. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <unistd.h>

#include "kmsd/supervisor/instance.h"

/* A file of its own: one that is there already has the mode, and perhaps the other names, that somebody gave it. */
static FILE *create(const char *path, mode_t mode)
{
    int fd = unlink(path) && errno != ENOENT ? -1 : open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "w");

    if (!f && fd >= 0)
        close(fd);
    return f;
}

static int write_key(EVP_PKEY *key, const char *path)
{
    FILE *f = create(path, 0600);
    int ok = f && PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL);

    return f && !fclose(f) && ok ? 0 : -1;
}

static int write_csr(EVP_PKEY *key, const char *path)
{
    X509_REQ *req = X509_REQ_new();
    FILE *f = create(path, 0644);
    int ok = req && f && X509_REQ_set_version(req, 0) && X509_REQ_set_pubkey(req, key) && X509_REQ_sign(req, key, EVP_sha256()) && PEM_write_X509_REQ(f, req);

    X509_REQ_free(req);
    return f && !fclose(f) && ok ? 0 : -1;
}

int keyfile_make(const char *key_file, const char *csr_file, struct err *e)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    int failed = !key || write_key(key, key_file) || write_csr(key, csr_file);

    EVP_PKEY_free(key);
    return failed ? err_set(e, ERR_INTERNAL, "the key %s could not be made", key_file) : 0;
}
