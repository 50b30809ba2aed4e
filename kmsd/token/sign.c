/* One signature: hash, token, encoding, verification. */
#include <string.h>

#include <openssl/ecdsa.h>
#include <openssl/err.h>

#include "base/hash.h"
#include "kmsd/token/key.h"

#define DER_SIGNATURE_MAX 80
#define PROBE_TEXT "kmsd probe\n" /* begins like neither a pre-authentication encoding nor a certificate */

struct operation {
    struct key *key;
    struct span input;                    /* digest, or the message itself */
    uint8_t raw[RAW_SIGNATURE_MAX];
};

/* After a new login the key is found anew, and its public half must still be the recorded one. A key that was there and is not any more is the
 * token's failure: whether it is gone for good a fresh process finds out. */
static int resolve(struct token *t, struct key *k, struct fault *f)
{
    BUF_AUTO have = BUF_INIT(SPKI_MAX);
    struct span id = span_of(k->id, sizeof k->id);
    struct object o;

    if (k->epoch == t->epoch)
        return 0;
    if (object_find(t, CKO_PRIVATE_KEY, k->algorithm->type, id, &o, f) || key_public(t, k->algorithm, id, &have, f))
        return f->class == LANE_KEY ? fault_set(f, LANE_TOKEN, "a key that was on the token is not there any more") : -1;
    if (!span_eq(buf_span(&have), span_of(k->spki, k->spki_len)))
        return fault_set(f, LANE_KEY, "the public key on the token is not the recorded one");
    k->handle = o.handle;
    k->epoch = t->epoch;
    return 0;
}

static int sign_once(struct token *t, void *arg, struct fault *f)
{
    struct operation *op = arg;
    CK_MECHANISM mechanism = {op->key->algorithm->sign, NULL, 0};
    CK_ULONG len = sizeof op->raw;
    struct fault worse;
    uint8_t *input;
    CK_RV rv;

    if (resolve(t, op->key, f))
        return -1;
    rv = t->f->C_SignInit(t->session, &mechanism, op->key->handle);
    if (rv != CKR_OK)
        return fault_rv(f, rv, "C_SignInit");
    memcpy(&input, &op->input.data, sizeof input); /* C_Sign takes a pointer to non-const it only reads through */
    rv = t->f->C_Sign(t->session, input, op->input.len, op->raw, &len);
    if (rv == CKR_OK)
        return len == sizeof op->raw ? 0 : fault_set(f, LANE_VERIFY, "the signature has %lu bytes", (unsigned long)len);
    fault_rv_open(f, rv, "C_Sign");
    if (f->heal == HEAL_NONE && f->class == LANE_BUG && token_fresh_session(t, &worse)) /* whatever the module left open must not spoil the next signature */
        *f = worse;
    return -1;
}

static int to_der(const uint8_t raw[static RAW_SIGNATURE_MAX], uint8_t der[static DER_SIGNATURE_MAX], size_t *len)
{
    BIGNUM *r = BN_bin2bn(raw, 32, NULL), *s = BN_bin2bn(raw + 32, 32, NULL);
    ECDSA_SIG *sig = ECDSA_SIG_new();
    int n = -1;

    if (r && s && sig && ECDSA_SIG_set0(sig, r, s) == 1) {
        r = s = NULL; /* owned by sig now */
        n = i2d_ECDSA_SIG(sig, NULL) <= DER_SIGNATURE_MAX ? i2d_ECDSA_SIG(sig, &der) : -1;
    }
    BN_free(r);
    BN_free(s);
    ECDSA_SIG_free(sig);
    *len = n > 0 ? (size_t)n : 0;
    return n > 0 ? 0 : -1;
}

static bool verifies_message(const struct key *k, struct span message, const uint8_t *raw)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool good = ctx && EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, k->public) == 1 &&
                EVP_DigestVerify(ctx, raw, RAW_SIGNATURE_MAX, message.data, message.len) == 1;

    EVP_MD_CTX_free(ctx);
    return good;
}

int key_sign(struct token *t, struct key *k, struct span message, struct buf *signature, struct fault *f)
{
    uint8_t digest[SHA256_LEN], der[DER_SIGNATURE_MAX];
    struct operation op = {.key = k, .input = message};
    bool prehash = k->algorithm->prehash, good;
    size_t len = 0;

    if (prehash) {
        sha256(message.data, message.len, digest);
        op.input = span_of(digest, sizeof digest);
    }
    if (token_retry(t, sign_once, &op, f))
        return -1;
    if (prehash)
        good = !to_der(op.raw, der, &len) && EVP_PKEY_verify(k->verify, der, len, digest, sizeof digest) == 1;
    else
        good = verifies_message(k, message, op.raw);
    ERR_clear_error();
    if (!good)
        return fault_set(f, LANE_VERIFY, "the signature does not verify");
    buf_put(signature, prehash ? der : op.raw, prehash ? len : sizeof op.raw);
    return buf_ok(signature) ? fault_set(f, LANE_TOKEN, "out of memory") : 0;
}

int key_probe(struct token *t, struct key *k, struct fault *f)
{
    BUF_AUTO signature = BUF_INIT(128);

    return key_sign(t, k, span_str(PROBE_TEXT), &signature, f);
}
