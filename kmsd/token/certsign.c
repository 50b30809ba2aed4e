/* Putting to-be-signed certificate, algorithm, signature together. */
#include "kmsd/token/certsign.h"

#include <openssl/err.h>
#include <openssl/x509.h>

#define TBS_MAX 8192

/* AlgorithmIdentifier ecdsa-with-SHA256 (RFC 5758), parameters absent. */
static const uint8_t ecdsa_sha256[] = {0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02};

/* OpenSSL writes the algorithm into the to-be-signed part only when it signs, so a key that lives for this call signs first;
 * its signature is thrown away. */
static int set_algorithm(X509 *x)
{
    EVP_PKEY *throwaway = EVP_EC_gen("P-256");
    int len = throwaway ? X509_sign(x, throwaway, EVP_sha256()) : 0;

    EVP_PKEY_free(throwaway);
    return len > 0 ? 0 : -1;
}

static int encode_tbs(X509 *x, struct buf *tbs)
{
    int len = i2d_re_X509_tbs(x, NULL);
    uint8_t *p = len > 0 ? buf_room(tbs, (size_t)len) : NULL;

    if (!p || i2d_re_X509_tbs(x, &p) != len)
        return -1;
    tbs->len += (size_t)len;
    return 0;
}

static void put_header(struct buf *b, uint8_t tag, size_t len)
{
    buf_putc(b, tag);
    if (len > 0xff) {
        buf_putc(b, 0x82);
        buf_putc(b, (uint8_t)(len >> 8));
    } else if (len > 0x7f) {
        buf_putc(b, 0x81);
    }
    buf_putc(b, (uint8_t)len);
}

/* Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signatureValue BIT STRING } */
static void assemble(struct buf *out, const struct buf *tbs, const struct buf *signature)
{
    BUF_AUTO tail = BUF_INIT(256);

    buf_put(&tail, ecdsa_sha256, sizeof ecdsa_sha256);
    put_header(&tail, 0x03, signature->len + 1);
    buf_putc(&tail, 0);
    buf_put(&tail, signature->data, signature->len);
    put_header(out, 0x30, tbs->len + tail.len);
    buf_put(out, tbs->data, tbs->len);
    buf_put(out, tail.data, tail.len);
    out->failed = out->failed || tail.failed;
}

static bool verifies(const struct buf *der, EVP_PKEY *key)
{
    const uint8_t *p = der->data;
    X509 *x = d2i_X509(NULL, &p, (long)der->len);
    bool good = x && p == der->data + der->len && X509_verify(x, key) == 1;

    X509_free(x);
    return good;
}

int cert_sign(struct token *t, struct key *ca, X509 *x, struct buf *der, struct fault *f)
{
    BUF_AUTO tbs = BUF_INIT(TBS_MAX);
    BUF_AUTO signature = BUF_INIT(128);
    BUF_AUTO out = BUF_INIT(TBS_MAX + 512);

    if (set_algorithm(x) || encode_tbs(x, &tbs))
        return fault_set(f, LANE_INPUT, "the certificate cannot be encoded");
    if (key_sign(t, ca, buf_span(&tbs), &signature, f))
        return -1;
    assemble(&out, &tbs, &signature);
    if (buf_ok(&out) || !verifies(&out, ca->public))
        return fault_set(f, LANE_VERIFY, "the certificate does not verify");
    buf_put(der, out.data, out.len);
    return buf_ok(der) ? fault_set(f, LANE_TOKEN, "out of memory") : 0;
}
