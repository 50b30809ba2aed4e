/* Making the TLS server credential. */
#include "kmsd/token/servercert.h"

#include <string.h>

#include <openssl/pem.h>

#include "base/fsutil.h"
#include "base/x509.h"

#define HOST_MAX 64

int random_serial(uint8_t out[static CERT_SERIAL_LEN], struct fault *f)
{
    if (random_bytes(out, CERT_SERIAL_LEN))
        return fault_set(f, LANE_TOKEN, "no random numbers");
    out[0] = (uint8_t)((out[0] & 0x7f) | 0x40); /* positive, always of the same length */
    return 0;
}

int write_certificate(const char *path, struct span der, struct fault *f)
{
    BUF_AUTO pem = BUF_INIT(4 * CERT_DER_MAX);
    struct err e = {0};

    der_to_pem(&pem, "CERTIFICATE", der);
    if (buf_ok(&pem))
        return fault_set(f, LANE_TOKEN, "out of memory");
    return file_write_atomic(path, pem.data, pem.len, 0644, &e) ? fault_err(f, LANE_TOKEN, &e) : 0;
}

static int write_key(const char *path, EVP_PKEY *key, struct fault *f)
{
    BIO *bio = BIO_new(BIO_s_secmem());
    struct err e = {0};
    char *text;
    long len;
    int bad = -1;

    if (bio && PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1 && (len = BIO_get_mem_data(bio, &text)) > 0) {
        bad = file_write_atomic(path, text, (size_t)len, 0600, &e) ? fault_err(f, LANE_TOKEN, &e) : 0;
        OPENSSL_cleanse(text, (size_t)len);
    } else {
        fault_set(f, LANE_TOKEN, "the TLS key cannot be encoded");
    }
    BIO_free(bio);
    return bad;
}

/* "ADDRESS:PORT" or "[v6]:PORT" -> the address. */
static int host_of(const char *listen, char out[static HOST_MAX])
{
    bool v6 = *listen == '[';
    const char *from = listen + v6, *to = v6 ? strchr(from, ']') : strrchr(from, ':');
    size_t len = to ? (size_t)(to - from) : 0;

    if (!len || len >= HOST_MAX)
        return -1;
    memcpy(out, from, len);
    out[len] = 0;
    return 0;
}

static void add_address(struct cert_profile *p, const char *host)
{
    for (size_t n = 0; n < p->n_ip; n++)
        if (!strcmp(p->ip[n], host))
            return;
    p->ip[p->n_ip++] = host;
}

int server_certificate_for(struct token *t, struct authority *ca, const struct settings *s, EVP_PKEY *key, const char *cn, int64_t from,
                           struct buf *der,
                           struct fault *f)
{
    struct cert_profile p = {.kind = CERT_SERVER, .cn = cn, .not_before = from, .not_after = from + CERT_LEAF_MAX, .dns = {"localhost"}, .n_dns = 1};
    char ci[HOST_MAX], admin[HOST_MAX];

    if (host_of(s->listen_ci, ci) || host_of(s->listen_admin, admin))
        return fault_set(f, LANE_INPUT, "listen holds no address");
    add_address(&p, "127.0.0.1");
    add_address(&p, "::1");
    add_address(&p, ci);
    add_address(&p, admin);
    return random_serial(p.serial, f) ? -1 : cert_make(t, &ca->key, ca->cert, key, &p, der, f);
}

int server_certificate(struct token *t, struct authority *ca, const struct settings *s, const char *cn, int64_t from, struct fault *f)
{
    BUF_AUTO der = BUF_INIT(CERT_DER_MAX);
    EVP_PKEY *key = EVP_EC_gen("P-256");
    int bad;

    if (!key)
        return fault_set(f, LANE_TOKEN, "OpenSSL cannot make a key");
    bad = server_certificate_for(t, ca, s, key, cn, from, &der, f) || write_key(s->tls_key, key, f) ||
          write_certificate(s->tls_certificate, buf_span(&der), f);
    EVP_PKEY_free(key);
    return bad ? -1 : 0;
}
