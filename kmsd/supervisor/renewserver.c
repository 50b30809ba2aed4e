/* `kmsd renew-server`: another certificate for the TLS key of the doors. */
#include <errno.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/enc.h"
#include "base/fsutil.h"
#include "base/timefmt.h"
#include "base/x509.h"
#include "kmsd/supervisor/commands.h"
#include "kmsd/supervisor/offline.h"

#define KEY_FILE_MAX 65536

static const char USAGE[] =
    "usage: kmsd renew-server (--settings FILE | --dir DIR)\n"
    "\n"
    "Has the CA on the token issue a certificate of 398 days for the key in tls.key, and puts it in the place of tls.certificate, whether the\n"
    "service runs or not. A running service takes it when it gets SIGHUP (systemctl reload kmsd): no request is lost. When a door first\n"
    "shows it, the log gets a record (server.renew). For another key put one there first.\n";

/* The key lies where the account of the doors may put something else, such as a pipe that nobody writes to. */
static EVP_PKEY *read_key(const char *path, struct err *e)
{
    BUF_AUTO pem = BUF_INIT(KEY_FILE_MAX);
    BIO *bio = file_read(path, &pem, e) ? NULL : BIO_new_mem_buf(pem.data, (int)pem.len);
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, (void *)(uintptr_t)"") : NULL;

    BIO_free(bio);
    buf_wipe(&pem);
    return key;
}

static int public_key(const char *path, struct buf *b64, struct err *e)
{
    EVP_PKEY *key = read_key(path, e);
    unsigned char *der = NULL;
    int len = key ? i2d_PUBKEY(key, &der) : -1;

    if (e->code)
        return -1;
    if (len > 0)
        b64_encode(b64, der, (size_t)len);
    OPENSSL_free(der);
    EVP_PKEY_free(key);
    return len > 0 && !buf_ok(b64) ? 0 : err_set(e, ERR_BAD_CERTIFICATE, "%s holds no usable private key", path);
}

static int issue(const struct settings *s, const char *spki, struct buf *pem, struct err *e)
{
    const char *const more[] = {"--renew-server", "--spki", spki, NULL};

    return offline_token(s, more, pem, e) ? err_context(e, "the CA issued no certificate") : 0;
}

/* What the token program printed is looked at before it takes the place of one that works. */
static int check(const struct buf *pem, const char *spki_b64, char until[static TIME_TEXT], struct err *e)
{
    BUF_AUTO der = BUF_INIT(65536), spki = BUF_INIT(8192), b64 = BUF_INIT(16384);
    struct cert_facts f;

    if (pem_to_der(buf_span(pem), "CERTIFICATE", &der, e) || cert_facts(buf_span(&der), &f, e) || cert_spki(buf_span(&der), &spki, e))
        return -1;
    b64_encode(&b64, spki.data, spki.len);
    time_format(f.not_after, until);
    return strcmp(buf_str(&b64), spki_b64) ? err_set(e, ERR_BAD_CERTIFICATE, "the certificate is not for the key of the doors") : 0;
}

static int renew(const struct settings *s, struct err *e)
{
    BUF_AUTO spki = BUF_INIT(16384), pem = BUF_INIT(65536);
    char until[TIME_TEXT];

    if (offline_owner(s, e) || offline_not_sealed(s, e) || public_key(s->tls_key, &spki, e) || issue(s, buf_str(&spki), &pem, e) || check(&pem, buf_str(&spki), until, e) ||
        file_replace(s->tls_certificate, pem.data, pem.len, e))
        return -1;
    printf("%s is good until %.10s; tell a running service: systemctl reload kmsd, or kill -HUP PID\n", s->tls_certificate, until);
    return 0;
}

int command_renew_server(int argc, char **argv)
{
    struct settings s;
    struct err e = {0};
    int code = offline_settings(argc, argv, USAGE, &s, &e);

    if (code >= 0)
        return code;
    if (!e.code && !renew(&s, &e))
        return 0;
    fprintf(stderr, "kmsd renew-server: %s\n", e.detail);
    return 1;
}
