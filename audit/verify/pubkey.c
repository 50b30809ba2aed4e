/* Public keys that verify many signatures: read once, and OpenSSL made ready for them once a thread, which is a tenth of a P-256 signature each time. */
#include "audit/verify/pubkey.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdlib.h>

#include "base/x509.h"

struct pubkey {
    EVP_PKEY *key;
    const struct scheme *scheme;
    EVP_MD *md;                          /* NULL: Ed25519, which takes the bytes themselves */
    EVP_PKEY_CTX *ready[PUBKEY_THREADS]; /* each made by its thread at its first signature */
};

struct pubkey *pubkey_open(struct span spki, const struct scheme *scheme, struct err *e)
{
    const unsigned char *at = spki.data;
    struct pubkey *k = calloc(1, sizeof *k);

    if (!k || !scheme || !spki_is(spki, scheme->algorithm)) {
        free(k);
        err_set(e, ERR_BAD_CERTIFICATE, "the public key is not one of that algorithm");
        return NULL;
    }
    k->scheme = scheme;
    k->key = d2i_PUBKEY(NULL, &at, (long)spki.len);
    k->md = scheme->hash ? EVP_MD_fetch(NULL, scheme->hash, NULL) : NULL;
    if (k->key && (k->md || !scheme->hash))
        return k;
    pubkey_close(k);
    err_set(e, ERR_INTERNAL, "out of memory");
    return NULL;
}

void pubkey_close(struct pubkey *k)
{
    for (unsigned n = 0; k && n < PUBKEY_THREADS; n++)
        EVP_PKEY_CTX_free(k->ready[n]);
    if (k) {
        EVP_MD_free(k->md);
        EVP_PKEY_free(k->key);
    }
    free(k);
}

static EVP_PKEY_CTX *make_ready(const struct pubkey *k)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(k->key, NULL);
    bool good = ctx && EVP_PKEY_verify_init(ctx) == 1, pss = !k->scheme->ecdsa && !k->scheme->pkcs1;

    if (good && !k->scheme->ecdsa)
        good = EVP_PKEY_CTX_set_rsa_padding(ctx, pss ? RSA_PKCS1_PSS_PADDING : RSA_PKCS1_PADDING) == 1;
    good = good && EVP_PKEY_CTX_set_signature_md(ctx, k->md) == 1;
    good = good && (!pss || EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST) == 1);
    if (good)
        return ctx;
    EVP_PKEY_CTX_free(ctx);
    return NULL;
}

static bool verify_digest(struct pubkey *k, unsigned thread, struct span digest, struct span signature)
{
    if (!k->ready[thread])
        k->ready[thread] = make_ready(k);
    return k->ready[thread] && digest.len == k->scheme->hash_len &&
           EVP_PKEY_verify(k->ready[thread], signature.data, signature.len, digest.data, digest.len) == 1;
}

static bool verify_bytes(const struct pubkey *k, struct span bytes, struct span signature)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool good = ctx && EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, k->key) == 1 &&
                EVP_DigestVerify(ctx, signature.data, signature.len, bytes.data, bytes.len) == 1;

    EVP_MD_CTX_free(ctx);
    return good;
}

bool pubkey_verify(struct pubkey *k, unsigned thread, struct span signed_bytes, struct span signature)
{
    uint8_t digest[SCHEME_DIGEST_MAX];
    unsigned len = 0;
    bool good;

    if (!k->md)
        good = verify_bytes(k, signed_bytes, signature);
    else if (!k->scheme->statement)
        good = verify_digest(k, thread, signed_bytes, signature);
    else
        good = EVP_Digest(signed_bytes.data, signed_bytes.len, digest, &len, k->md, NULL) == 1 && verify_digest(k, thread, span_of(digest, len), signature);
    if (!good)
        ERR_clear_error();
    return good;
}
