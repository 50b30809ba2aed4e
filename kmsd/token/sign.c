/* One signature: hash, token, encoding, verification. */
#include <string.h>

#include <openssl/ecdsa.h>

#include "kmsd/token/key.h"

#define DER_SIGNATURE_MAX 112
#define PROBE_TEXT "kmsd probe\n" /* begins like neither a pre-authentication encoding nor a certificate */
#define RAW_PROBE_TEXT "kmsd probe of the raw RSA block\n" /* as long as a SHA-256 digest */

struct operation {
    struct key *key;
    bool quick;                           /* a session copy of the key, or what was begun ahead, will do: its owner asks key_still before anything leaves */
    struct span input;                    /* what the mechanism takes */
    uint8_t raw[RAW_SIGNATURE_MAX];
};

/* After a new login the key is found anew, and its public half must still be the recorded one. A key that was there and is not any more is the
 * token's failure: whether it is gone for good a fresh process finds out. */
int key_resolve(struct token *t, struct key *k, struct fault *f)
{
    const struct algorithm *a = k->method->algorithm;
    BUF_AUTO have = BUF_INIT(SPKI_MAX);
    struct span id = span_of(k->id, sizeof k->id);
    struct object o;

    if (k->epoch == t->epoch)
        return 0;
    if (object_find(t, CKO_PRIVATE_KEY, a->type, id, &o, f) || key_public(t, a, id, &have, f))
        return f->class == LANE_KEY ? fault_set(f, LANE_TOKEN, "a key that was on the token is not there any more") : -1;
    if (!span_eq(buf_span(&have), span_of(k->spki, k->spki_len)))
        return fault_set(f, LANE_KEY, "the public key on the token is not the recorded one");
    k->handle = o.handle;
    k->epoch = t->epoch;
    return 0;
}

static CK_RV sign_init(struct token *t, const struct operation *op, CK_OBJECT_HANDLE key)
{
    const struct method *m = op->key->method;
    CK_RSA_PKCS_PSS_PARAMS pss;
    CK_MECHANISM mechanism = {m->mechanism, NULL, 0};

    if (m->mechanism == CKM_RSA_PKCS_PSS) {
        pss = m->hash->pss;
        mechanism.pParameter = &pss;
        mechanism.ulParameterLen = sizeof pss;
    }
    return t->f->C_SignInit(t->session, &mechanism, key);
}

static int signed_as(const struct operation *op, CK_ULONG len, struct fault *f)
{
    return len == op->key->method->algorithm->signature_len ? 0 : fault_set(f, LANE_VERIFY, "the signature has %lu bytes", (unsigned long)len);
}

static int sign_once(struct token *t, void *arg, struct fault *f)
{
    struct operation *op = arg;
    CK_ULONG len = sizeof op->raw;
    CK_OBJECT_HANDLE key;
    struct fault worse;
    uint8_t *input;
    CK_RV rv;

    if (key_resolve(t, op->key, f))
        return -1;
    key = op->quick ? key_quick_handle(t, op->key) : op->key->handle;
    if (op->quick && !op->key->copyable && ahead_sign(t, key, op->input, op->raw, &len)) {
        op->key->loose = true;
        return signed_as(op, len, f);
    }
    rv = sign_init(t, op, key);
    if (rv != CKR_OK)
        return fault_rv(f, rv, "C_SignInit");
    memcpy(&input, &op->input.data, sizeof input); /* C_Sign takes a pointer to non-const it only reads through */
    rv = t->f->C_Sign(t->session, input, op->input.len, op->raw, &len);
    if (rv == CKR_OK)
        return signed_as(op, len, f);
    fault_rv_open(f, rv, "C_Sign");
    if (f->heal == HEAL_NONE && f->class == LANE_BUG && token_fresh_session(t, &worse)) /* whatever the module left open must not spoil the next signature */
        *f = worse;
    return -1;
}

/* r || s -> Ecdsa-Sig-Value (RFC 3279); empty when that cannot be done. */
static struct span to_der(struct span raw, uint8_t der[static DER_SIGNATURE_MAX])
{
    int half = (int)raw.len / 2, n = -1;
    BIGNUM *r = BN_bin2bn(raw.data, half, NULL), *s = BN_bin2bn(raw.data + half, half, NULL);
    ECDSA_SIG *sig = ECDSA_SIG_new();
    uint8_t *p = der;

    if (r && s && sig && ECDSA_SIG_set0(sig, r, s) == 1) {
        r = s = NULL; /* owned by sig now */
        n = i2d_ECDSA_SIG(sig, NULL) <= DER_SIGNATURE_MAX ? i2d_ECDSA_SIG(sig, &p) : -1;
    }
    BN_free(r);
    BN_free(s);
    ECDSA_SIG_free(sig);
    return span_of(der, n > 0 ? (size_t)n : 0);
}

/* What the mechanism takes of a digest: itself, or a DigestInfo with it. */
static struct span mechanism_input(const struct method *m, struct span digest, uint8_t room[static DIGEST_INFO_MAX + HASH_MAX])
{
    struct span info = m->hash->digest_info;

    if (m->mechanism != CKM_RSA_PKCS)
        return digest;
    memcpy(room, info.data, info.len);
    memcpy(room + info.len, digest.data, digest.len);
    return span_of(room, info.len + digest.len);
}

/* What the token signs of the input: its digest or, for methods without a hash, itself. */
static int digest_of(const struct method *m, struct span input, bool hashed, uint8_t room[static HASH_MAX], struct span *out, struct fault *f)
{
    *out = input;
    if (!m->hash || hashed)
        return 0;
    if (!m->hash->run(input.data, input.len, room))
        return fault_set(f, LANE_TOKEN, "OpenSSL cannot hash");
    *out = span_of(room, m->hash->len);
    return 0;
}

static int input_digest(const struct key *k, struct span input, uint8_t room[static HASH_MAX], struct span *out, struct fault *f)
{
    if (method_takes(k->method, input))
        return fault_set(f, LANE_INPUT, "the input is not what scheme %s signs", k->method->name);
    return digest_of(k->method, input, k->method->input == INPUT_DIGEST, room, out, f);
}

/* The signature as it is given out, not verified; in `der` or in the operation. */
static int make(struct token *t, struct operation *op, struct span digest, uint8_t der[static DER_SIGNATURE_MAX], struct span *out, struct fault *f)
{
    const struct method *m = op->key->method;
    uint8_t room[DIGEST_INFO_MAX + HASH_MAX];

    op->input = m->hash ? mechanism_input(m, digest, room) : digest;
    if (token_retry(t, sign_once, op, f))
        return -1;
    *out = span_of(op->raw, m->algorithm->signature_len);
    if (m->mechanism == CKM_ECDSA)
        *out = to_der(*out, der);
    return 0;
}

static int sign_digest(struct token *t, struct key *k, struct span digest, struct buf *signature, struct fault *f)
{
    struct operation op = {.key = k};
    uint8_t der[DER_SIGNATURE_MAX];
    struct span out;

    if (make(t, &op, digest, der, &out, f))
        return -1;
    if (!key_verifies(k, digest, out))
        return fault_set(f, LANE_VERIFY, "the signature does not verify");
    buf_put(signature, out.data, out.len);
    return buf_ok(signature) ? fault_set(f, LANE_TOKEN, "out of memory") : 0;
}

int key_sign(struct token *t, struct key *k, struct span input, struct buf *signature, struct fault *f)
{
    uint8_t room[HASH_MAX];
    struct span digest;

    return input_digest(k, input, room, &digest, f) ? -1 : sign_digest(t, k, digest, signature, f);
}

int key_make(struct token *t, struct key *k, struct span input, struct made *out, struct fault *f)
{
    struct operation op = {.key = k, .quick = true};
    uint8_t room[HASH_MAX], der[DER_SIGNATURE_MAX];
    struct span digest, signature;

    if (input_digest(k, input, room, &digest, f) || make(t, &op, digest, der, &signature, f))
        return -1;
    if (digest.len != sizeof out->digest || !signature.len || signature.len > sizeof out->signature)
        return fault_set(f, LANE_VERIFY, "the signature does not verify");
    *out = (struct made){.key = k, .len = signature.len};
    memcpy(out->digest, digest.data, digest.len);
    memcpy(out->signature, signature.data, signature.len);
    return 0;
}

int key_probe(struct token *t, struct key *k, struct fault *f)
{
    BUF_AUTO signature = BUF_INIT(RAW_SIGNATURE_MAX);
    uint8_t room[HASH_MAX];
    struct span digest;

    return digest_of(k->method, span_str(PROBE_TEXT), false, room, &digest, f) ? -1 : sign_digest(t, k, digest, &signature, f);
}

/* A token that refuses such input adds nothing to it either. */
int key_adds_digest_info(struct token *t, struct key *k, bool *adds, struct fault *f)
{
    struct operation op = {.key = k, .input = span_str(RAW_PROBE_TEXT)};
    BUF_AUTO inside = BUF_INIT(MODULUS_MAX);
    struct span text = op.input;

    *adds = false;
    if (token_retry(t, sign_once, &op, f))
        return f->class == LANE_BUG ? 0 : -1;
    if (!key_recovers(k, span_of(op.raw, k->method->algorithm->signature_len), &inside) || inside.len < text.len ||
        !span_eq(span_of(inside.data + inside.len - text.len, text.len), text))
        return fault_set(f, LANE_VERIFY, "the RSA block does not hold what was signed");
    *adds = inside.len > text.len;
    return 0;
}
