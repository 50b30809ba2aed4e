/* Verifies OpenSSH signatures (PROTOCOL.sshsig) over OpenSSL. */
#include "base/sshsig.h"

#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <string.h>

#include "base/enc.h"
#include "base/hash.h"
#include "base/sshblob.h"

struct sshsig {
    struct span key, ns, reserved, hash_name, signature;
};

static int parse(struct span blob, struct sshsig *s, struct err *e)
{
    static const uint8_t preamble[] = {'S', 'S', 'H', 'S', 'I', 'G', 0, 0, 0, 1};
    struct span rest = blob;

    if (blob.len > SSHSIG_MAX || blob.len < sizeof preamble || memcmp(blob.data, preamble, sizeof preamble))
        return err_set(e, ERR_SIGNATURE_INVALID, "it is no SSH signature of version 1");
    rest = span_of(blob.data + sizeof preamble, blob.len - sizeof preamble);
    if (ssh_take(&rest, &s->key) || ssh_take(&rest, &s->ns) || ssh_take(&rest, &s->reserved) || ssh_take(&rest, &s->hash_name) ||
        ssh_take(&rest, &s->signature) || rest.len)
        return err_set(e, ERR_SIGNATURE_INVALID, "the SSH signature is damaged");
    return 0;
}

/* The type stands in front of a space: it must not hold one, nor anything else that would make the text ambiguous. */
static bool is_type(struct span type)
{
    for (size_t n = 0; n < type.len; n++)
        if (type.data[n] <= ' ' || type.data[n] >= 0x7f)
            return false;
    return type.len && type.len <= 64;
}

int sshsig_key(struct span blob, char *out, size_t size, struct err *e)
{
    struct sshsig s;
    struct span rest, type;
    BUF_AUTO text = BUF_INIT(SSH_KEY_TEXT_MAX);

    if (parse(blob, &s, e))
        return -1;
    rest = s.key;
    if (ssh_take(&rest, &type) || !is_type(type))
        return err_set(e, ERR_SIGNATURE_INVALID, "the key in the SSH signature is damaged");
    buf_put(&text, type.data, type.len);
    buf_putc(&text, ' ');
    b64_encode(&text, s.key.data, s.key.len);
    if (buf_ok(&text) || text.len >= size)
        return err_set(e, ERR_SIGNATURE_INVALID, "the key in the SSH signature is too long");
    memcpy(out, text.data, text.len + 1);
    return 0;
}

static void put_string(struct buf *b, struct span s)
{
    buf_u32(b, (uint32_t)s.len);
    buf_put(b, s.data, s.len);
}

/* What the key signed: "SSHSIG", namespace, reserved, hash name, hash of the message. */
static int signed_data(const struct sshsig *s, struct span message, struct buf *out)
{
    uint8_t hash[EVP_MAX_MD_SIZE];
    unsigned n;
    const EVP_MD *md = span_eq_str(s->hash_name, "sha512") ? EVP_sha512() : span_eq_str(s->hash_name, "sha256") ? EVP_sha256() : NULL;

    if (!md || !EVP_Digest(message.data, message.len, hash, &n, md, NULL))
        return -1;
    buf_put(out, "SSHSIG", 6);
    put_string(out, s->ns);
    put_string(out, s->reserved);
    put_string(out, s->hash_name);
    put_string(out, span_of(hash, n));
    return buf_ok(out);
}

/* SSH writes ECDSA as two mpints; OpenSSL wants DER. */
static int ecdsa_der(struct span raw, uint8_t *der, size_t size, size_t *len)
{
    struct span r, s, rest = raw;
    ECDSA_SIG *sig;
    BIGNUM *br, *bs;
    int n = 0;

    if (ssh_take_mpint(&rest, &r) || ssh_take_mpint(&rest, &s) || rest.len || r.len > 66 || s.len > 66)
        return -1;
    sig = ECDSA_SIG_new();
    br = BN_bin2bn(r.data, (int)r.len, NULL);
    bs = BN_bin2bn(s.data, (int)s.len, NULL);
    if (sig && br && bs && ECDSA_SIG_set0(sig, br, bs)) {
        br = bs = NULL; /* sig owns them now */
        n = i2d_ECDSA_SIG(sig, NULL);
        n = n > 0 && (size_t)n <= size ? i2d_ECDSA_SIG(sig, &der) : 0;
    }
    BN_free(br);
    BN_free(bs);
    ECDSA_SIG_free(sig);
    *len = n > 0 ? (size_t)n : 0;
    return *len ? 0 : -1;
}

struct check {
    const struct ssh_key *key;
    struct span format, raw, rest; /* of the inner signature */
    struct buf data;
};

static bool verify_with(const struct ssh_key *k, const EVP_MD *md, struct span sig, struct span data)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool good = ctx && EVP_DigestVerifyInit(ctx, NULL, md, NULL, k->pkey) == 1 && EVP_DigestVerify(ctx, sig.data, sig.len, data.data, data.len) == 1;

    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    return good;
}

static bool verify_inner(const struct check *c)
{
    uint8_t der[256];
    size_t n;

    switch (EVP_PKEY_get_base_id(c->key->pkey)) {
    case EVP_PKEY_ED25519:
        return span_eq_str(c->format, c->key->type) && verify_with(c->key, NULL, c->raw, buf_span(&c->data));
    case EVP_PKEY_RSA:
        if (span_eq_str(c->format, "rsa-sha2-512"))
            return verify_with(c->key, EVP_sha512(), c->raw, buf_span(&c->data));
        return span_eq_str(c->format, "rsa-sha2-256") && verify_with(c->key, EVP_sha256(), c->raw, buf_span(&c->data));
    case EVP_PKEY_EC: {
        int bits = EVP_PKEY_get_bits(c->key->pkey);
        const EVP_MD *md = bits == 256 ? EVP_sha256() : bits == 384 ? EVP_sha384() : EVP_sha512();

        return span_eq_str(c->format, c->key->type) && !ecdsa_der(c->raw, der, sizeof der, &n) &&
               verify_with(c->key, md, span_of(der, n), buf_span(&c->data));
    }
    default:
        return false;
    }
}

/* A security key signs SHA-256(application) | flags | counter | SHA-256(data) and must say that somebody touched it. */
static int wrap_sk(struct check *c, uint8_t *flags, struct err *e)
{
    uint8_t app[SHA256_LEN], inner[SHA256_LEN];

    if (c->rest.len != 5)
        return err_set(e, ERR_SIGNATURE_INVALID, "the security key's signature is damaged");
    *flags = c->rest.data[0];
    if (!(*flags & 1))
        return err_set(e, ERR_SIGNATURE_INVALID, "the security key was not touched");
    sha256(c->key->application.data, c->key->application.len, app);
    sha256(c->data.data, c->data.len, inner);
    buf_clear(&c->data);
    buf_put(&c->data, app, sizeof app);
    buf_put(&c->data, c->rest.data, 5);
    buf_put(&c->data, inner, sizeof inner);
    return buf_ok(&c->data);
}

static int verify_parsed(const struct sshsig *s, const struct ssh_key *key, struct span message, uint8_t *flags, struct err *e)
{
    struct check c = {.key = key, .rest = s->signature, .data = BUF_INIT(4096)};
    int failed = 0;

    *flags = 0;
    if (signed_data(s, message, &c.data) || ssh_take(&c.rest, &c.format) || ssh_take(&c.rest, &c.raw) || (!key->sk && c.rest.len))
        failed = err_set(e, ERR_SIGNATURE_INVALID, "the SSH signature is damaged");
    if (!failed && key->sk)
        failed = wrap_sk(&c, flags, e);
    if (!failed && !verify_inner(&c))
        failed = err_set(e, ERR_SIGNATURE_INVALID, "the SSH signature does not fit what it should sign");
    buf_free(&c.data);
    return failed;
}

int sshsig_verify(struct span blob, const char *ns, struct span message, const char *key, uint8_t *flags_out, struct err *e)
{
    struct sshsig s;
    struct ssh_key k;
    char inside[SSH_KEY_TEXT_MAX];
    uint8_t flags;
    struct err why = {0};
    int failed;

    if (parse(blob, &s, e) || sshsig_key(blob, inside, sizeof inside, e))
        return -1;
    if (strcmp(inside, key))
        return err_set(e, ERR_SIGNATURE_INVALID, "the SSH signature was made with another key");
    if (!span_eq_str(s.ns, ns))
        return err_set(e, ERR_SIGNATURE_INVALID, "the SSH signature has the namespace %.*s instead of %s", (int)(s.ns.len > 40 ? 40 : s.ns.len),
                       (const char *)s.ns.data, ns);
    if (ssh_key_parse(s.key, &k, &why))
        return err_set(e, ERR_SIGNATURE_INVALID, "%s", why.detail);
    failed = verify_parsed(&s, &k, message, &flags, e);
    ssh_key_release(&k);
    if (!failed && flags_out)
        *flags_out = flags;
    return failed;
}

int sshsig_dearmor(struct span text, struct buf *blob, struct err *e)
{
    static const char begin[] = "-----BEGIN SSH SIGNATURE-----", end[] = "-----END SSH SIGNATURE-----";
    BUF_AUTO body = BUF_INIT(4 * SSHSIG_MAX);
    struct span s = text;

    while (s.len && (s.data[s.len - 1] == ' ' || s.data[s.len - 1] == '\r' || s.data[s.len - 1] == '\n'))
        s.len--;
    if (s.len < sizeof begin + sizeof end || memcmp(s.data, begin, sizeof begin - 1) ||
        memcmp(s.data + s.len - (sizeof end - 1), end, sizeof end - 1))
        return err_set(e, ERR_SIGNATURE_INVALID, "it is no armoured SSH signature");
    for (size_t n = sizeof begin - 1; n < s.len - (sizeof end - 1); n++)
        if (s.data[n] != '\n' && s.data[n] != '\r')
            buf_putc(&body, s.data[n]);
    if (buf_ok(&body) || b64_decode(blob, buf_str(&body), body.len))
        return err_set(e, ERR_SIGNATURE_INVALID, "the armour of the SSH signature is no base64");
    return 0;
}
