/* Public keys as SubjectPublicKeyInfo: verifying with them, and their JWK and OpenSSH forms. */
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <string.h>

#include "base/enc.h"
#include "base/json.h"
#include "base/pkey.h"
#include "base/x509.h"

static void key_free(EVP_PKEY **k)
{
    EVP_PKEY_free(*k);
}
#define KEY_AUTO __attribute__((cleanup(key_free))) EVP_PKEY

static EVP_PKEY *load(struct span spki, struct err *e)
{
    const unsigned char *at = spki.data;
    EVP_PKEY *k = spki.len ? d2i_PUBKEY(NULL, &at, (long)spki.len) : NULL;

    ERR_clear_error();
    if (k && at == spki.data + spki.len)
        return k;
    EVP_PKEY_free(k);
    err_set(e, ERR_BAD_CERTIFICATE, "the public key does not parse");
    return NULL;
}

/* The hash that goes with the key; NULL in *md for Ed25519. */
static int digest_of(const EVP_PKEY *k, const EVP_MD **md)
{
    enum pkey_kind kind = pkey_kind(k);

    *md = kind == PKEY_P384 ? EVP_sha384() : kind == PKEY_ED25519 ? NULL : EVP_sha256();
    return kind == PKEY_OTHER ? -1 : 0;
}

static bool verify(EVP_PKEY *k, const EVP_MD *md, struct span message, struct span sig)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pctx = NULL;
    bool good = ctx && EVP_DigestVerifyInit(ctx, &pctx, md, NULL, k) == 1;

    if (good && EVP_PKEY_get_base_id(k) == EVP_PKEY_RSA)
        good = EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING) == 1 && EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, RSA_PSS_SALTLEN_DIGEST) == 1;
    good = good && EVP_DigestVerify(ctx, sig.data, sig.len, message.data, message.len) == 1;
    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    return good;
}

static int verify_message(EVP_PKEY *k, struct span message, struct span sig, struct err *e)
{
    const EVP_MD *md;

    if (digest_of(k, &md))
        return err_set(e, ERR_BAD_CERTIFICATE, "the public key is of a kind that is not used here");
    return verify(k, md, message, sig) ? 0 : err_set(e, ERR_SIGNATURE_INVALID, "the signature does not verify");
}

int spki_verify(struct span spki_der, struct span message, struct span sig, struct err *e)
{
    KEY_AUTO *k = load(spki_der, e);

    return k ? verify_message(k, message, sig, e) : -1;
}

static const EVP_MD *md_of(const struct scheme *s)
{
    return !s->hash ? NULL : strcmp(s->hash, "sha384") ? EVP_sha256() : EVP_sha384();
}

static bool verify_digest(EVP_PKEY *k, const struct scheme *s, struct span digest, struct span sig)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(k, NULL);
    bool good = ctx && EVP_PKEY_verify_init(ctx) == 1;

    if (good && !s->ecdsa)
        good = EVP_PKEY_CTX_set_rsa_padding(ctx, s->pkcs1 ? RSA_PKCS1_PADDING : RSA_PKCS1_PSS_PADDING) == 1 &&
               (s->pkcs1 || EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST) == 1);
    good = good && EVP_PKEY_CTX_set_signature_md(ctx, md_of(s)) == 1 && EVP_PKEY_verify(ctx, sig.data, sig.len, digest.data, digest.len) == 1;
    EVP_PKEY_CTX_free(ctx);
    ERR_clear_error();
    return good;
}

static bool is_algorithm(const EVP_PKEY *k, const char *algorithm)
{
    static const struct {
        const char *algorithm;
        enum pkey_kind kind;
        int bits;
    } kinds[] = {{"p256", PKEY_P256, 256}, {"p384", PKEY_P384, 384}, {"ed25519", PKEY_ED25519, 256},
                 {"rsa-2048", PKEY_RSA, 2048}, {"rsa-3072", PKEY_RSA, 3072}, {"rsa-4096", PKEY_RSA, 4096}};
    BIGNUM *exponent = NULL;
    bool good = false;

    for (size_t n = 0; n < sizeof kinds / sizeof *kinds; n++)
        good |= !strcmp(kinds[n].algorithm, algorithm) && kinds[n].kind == pkey_kind(k) &&
                (kinds[n].kind == PKEY_ED25519 || kinds[n].bits == EVP_PKEY_get_bits(k));
    if (good && pkey_kind(k) == PKEY_RSA)
        good = EVP_PKEY_get_bn_param(k, OSSL_PKEY_PARAM_RSA_E, &exponent) == 1 && BN_is_word(exponent, RSA_F4);
    BN_free(exponent);
    return good;
}

static int check_digest(EVP_PKEY *k, const struct scheme *scheme, struct span digest, struct span sig, struct err *e)
{
    if (scheme->statement || !is_algorithm(k, scheme->algorithm))
        return err_set(e, ERR_BAD_CERTIFICATE, "the public key is not one of %s for digests", scheme->algorithm);
    if (digest.len != scheme->hash_len)
        return err_set(e, ERR_BAD_DIGEST, "the digest has %zu bytes, a %s has %zu", digest.len, scheme->hash, scheme->hash_len);
    return verify_digest(k, scheme, digest, sig) ? 0 : err_set(e, ERR_SIGNATURE_INVALID, "the signature does not verify");
}

int spki_verify_digest(struct span spki_der, const struct scheme *scheme, struct span digest, struct span sig, struct err *e)
{
    KEY_AUTO *k = load(spki_der, e);

    return k ? check_digest(k, scheme, digest, sig, e) : -1;
}

bool spki_is(struct span spki_der, const char *algorithm)
{
    struct err e = {0};
    KEY_AUTO *k = load(spki_der, &e);

    return k && is_algorithm(k, algorithm);
}

int ecdsa_raw(struct span der, const struct scheme *scheme, struct buf *out, struct err *e)
{
    const unsigned char *at = der.data;
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &at, (long)der.len);
    size_t half = scheme->hash_len; /* for the curves used here the order is as long as the hash */
    uint8_t raw[2 * SCHEME_DIGEST_MAX];
    bool good = scheme->ecdsa && sig && at == der.data + der.len && BN_bn2binpad(ECDSA_SIG_get0_r(sig), raw, (int)half) == (int)half &&
                BN_bn2binpad(ECDSA_SIG_get0_s(sig), raw + half, (int)half) == (int)half;

    ECDSA_SIG_free(sig);
    ERR_clear_error();
    if (!good)
        return err_set(e, ERR_INTERNAL, "the signature is no ECDSA signature of that curve");
    buf_put(out, raw, 2 * half);
    return buf_ok(out) ? err_set(e, ERR_INTERNAL, "out of memory") : 0;
}

static const struct curve {
    enum pkey_kind kind;
    const char *jwk, *ssh;
    size_t bytes;
} CURVES[] = {{PKEY_P256, "P-256", "nistp256", 32}, {PKEY_P384, "P-384", "nistp384", 48}};

/* Uncompressed point: 04 x y. */
static const struct curve *ec_point(const EVP_PKEY *k, uint8_t point[static 97])
{
    enum pkey_kind kind = pkey_kind(k);
    size_t got;

    for (size_t i = 0; i < sizeof CURVES / sizeof *CURVES; i++)
        if (CURVES[i].kind == kind && EVP_PKEY_get_octet_string_param(k, OSSL_PKEY_PARAM_PUB_KEY, point, 97, &got) && point[0] == 4 &&
            got == 1 + 2 * CURVES[i].bytes)
            return &CURVES[i];
    return NULL;
}

static size_t bignum(const EVP_PKEY *k, const char *name, uint8_t *out, size_t size)
{
    BIGNUM *bn = NULL;
    size_t n = 0;

    if (EVP_PKEY_get_bn_param(k, name, &bn) && (size_t)BN_num_bytes(bn) <= size)
        n = (size_t)BN_bn2bin(bn, out);
    BN_free(bn);
    return n;
}

static void set_b64url(json_t *j, const char *member, const uint8_t *data, size_t len)
{
    BUF_AUTO b = BUF_INIT(4096);

    b64url_encode(&b, data, len);
    json_object_set_new(j, member, json_string(buf_str(&b)));
}

static int jwk(const EVP_PKEY *k, json_t *j)
{
    uint8_t raw[1024];
    size_t n = sizeof raw;
    const struct curve *c = ec_point(k, raw);

    if (c) {
        json_object_set_new(j, "kty", json_string("EC"));
        json_object_set_new(j, "crv", json_string(c->jwk));
        set_b64url(j, "x", raw + 1, c->bytes);
        set_b64url(j, "y", raw + 1 + c->bytes, c->bytes);
        return 0;
    }
    if (pkey_kind(k) == PKEY_ED25519 && EVP_PKEY_get_raw_public_key(k, raw, &n)) {
        json_object_set_new(j, "kty", json_string("OKP"));
        json_object_set_new(j, "crv", json_string("Ed25519"));
        set_b64url(j, "x", raw, n);
        return 0;
    }
    n = pkey_kind(k) == PKEY_RSA ? bignum(k, OSSL_PKEY_PARAM_RSA_N, raw, sizeof raw) : 0;
    if (!n)
        return -1;
    json_object_set_new(j, "kty", json_string("RSA"));
    set_b64url(j, "n", raw, n);
    n = bignum(k, OSSL_PKEY_PARAM_RSA_E, raw, sizeof raw);
    set_b64url(j, "e", raw, n);
    return 0;
}

int spki_to_jwk(struct span spki_der, struct buf *out, struct err *e)
{
    KEY_AUTO *k = load(spki_der, e);
    JSON_AUTO *j = json_object();

    if (!k)
        return -1;
    if (jwk(k, j))
        return err_set(e, ERR_BAD_CERTIFICATE, "the public key has no JWK form here");
    json_canonical(out, j);
    return buf_ok(out) ? err_set(e, ERR_INTERNAL, "out of memory") : 0;
}

static void put_string(struct buf *b, const void *data, size_t len)
{
    buf_u32(b, (uint32_t)len);
    buf_put(b, data, len);
}

static void put_mpint(struct buf *b, const uint8_t *data, size_t len)
{
    bool pad = len && (data[0] & 0x80);

    buf_u32(b, (uint32_t)(len + pad));
    if (pad)
        buf_putc(b, 0);
    buf_put(b, data, len);
}

/* Fills the RFC 4253 blob; returns the key type, NULL when there is none. */
static const char *ssh_blob(const EVP_PKEY *k, struct buf *blob, char type[static 32])
{
    uint8_t raw[1024], exponent[8];
    size_t n = sizeof raw, m;
    const struct curve *c = ec_point(k, raw);
    BUF_AUTO name = BUF_INIT(31);

    if (c) {
        buf_printf(&name, "ecdsa-sha2-%s", c->ssh);
        put_string(blob, name.data, name.len);
        put_string(blob, c->ssh, strlen(c->ssh));
        put_string(blob, raw, 1 + 2 * c->bytes);
    } else if (pkey_kind(k) == PKEY_ED25519 && EVP_PKEY_get_raw_public_key(k, raw, &n)) {
        buf_puts(&name, "ssh-ed25519");
        put_string(blob, name.data, name.len);
        put_string(blob, raw, n);
    } else {
        n = pkey_kind(k) == PKEY_RSA ? bignum(k, OSSL_PKEY_PARAM_RSA_N, raw, sizeof raw) : 0;
        m = n ? bignum(k, OSSL_PKEY_PARAM_RSA_E, exponent, sizeof exponent) : 0;
        if (!m)
            return NULL;
        buf_puts(&name, "ssh-rsa");
        put_string(blob, name.data, name.len);
        put_mpint(blob, exponent, m);
        put_mpint(blob, raw, n);
    }
    memcpy(type, buf_str(&name), name.len + 1);
    return type;
}

int spki_to_ssh(struct span spki_der, struct buf *out, struct err *e)
{
    KEY_AUTO *k = load(spki_der, e);
    BUF_AUTO blob = BUF_INIT(4096);
    char type[32];

    if (!k)
        return -1;
    if (!ssh_blob(k, &blob, type))
        return err_set(e, ERR_BAD_CERTIFICATE, "the public key has no OpenSSH form here");
    buf_printf(out, "%s ", type);
    b64_encode(out, blob.data, blob.len);
    buf_putc(out, '\n');
    return buf_ok(out) ? err_set(e, ERR_INTERNAL, "out of memory") : 0;
}
