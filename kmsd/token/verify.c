/* The judgement of signatures, before they leave the process. */
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "base/log.h"
#include "kmsd/token/key.h"

/* A salt of another length than the hash does not verify. */
static bool set_padding(EVP_PKEY_CTX *ctx, const struct method *m)
{
    const EVP_MD *md = m->hash->md();

    switch (m->mechanism) {
    case CKM_RSA_PKCS_PSS:
        return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) == 1 && EVP_PKEY_CTX_set_signature_md(ctx, md) == 1 &&
               EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, md) == 1 && EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, (int)m->hash->pss.sLen) == 1;
    case CKM_RSA_PKCS:
        return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) == 1 && EVP_PKEY_CTX_set_signature_md(ctx, md) == 1;
    default:
        return EVP_PKEY_CTX_set_signature_md(ctx, md) == 1;
    }
}

int key_verifier(struct key *k, struct span spki, struct fault *f)
{
    const uint8_t *p = spki.data;

    k->public = d2i_PUBKEY(NULL, &p, (long)spki.len);
    if (!k->public || p != spki.data + spki.len)
        return fault_set(f, LANE_KEY, "the public key is not one of its algorithm");
    if (!k->method->hash)
        return 0;
    k->verify = EVP_PKEY_CTX_new(k->public, NULL);
    if (!k->verify || EVP_PKEY_verify_init(k->verify) != 1 || !set_padding(k->verify, k->method))
        return fault_set(f, LANE_TOKEN, "OpenSSL cannot set up the verification");
    k->p256 = k->method->algorithm == &algorithm_p256 ? p256_key_new(k->public) : NULL;
    return 0;
}

static bool verifies_message(const struct key *k, struct span message, struct span signature)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool good = ctx && EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, k->public) == 1 &&
                EVP_DigestVerify(ctx, signature.data, signature.len, message.data, message.len) == 1;

    EVP_MD_CTX_free(ctx);
    return good;
}

bool key_verifies(const struct key *k, struct span digest, struct span signature)
{
    bool good = k->method->hash ? EVP_PKEY_verify(k->verify, signature.data, signature.len, digest.data, digest.len) == 1
                                : verifies_message(k, digest, signature);

    ERR_clear_error();
    return good;
}

/* What the quick way refuses OpenSSL has the last word on: a mistake there can cost time only. */
void keys_judge(struct p256_batch *b, struct made *list, size_t n)
{
    struct p256_item items[P256_BATCH_MAX];

    for (size_t k = 0; k < n; k++)
        items[k] = (struct p256_item){.key = list[k].key->p256,
                                      .digest = span_of(list[k].digest, sizeof list[k].digest),
                                      .signature = span_of(list[k].signature, list[k].len)};
    p256_batch_verify(b, items, n);
    for (size_t k = 0; k < n; k++) {
        list[k].good = items[k].good || key_verifies(list[k].key, items[k].digest, items[k].signature);
        if (list[k].good && !items[k].good)
            log_line(LOG_LEVEL_WARNING, "verify", "text=\"the quick check refused what OpenSSL accepts\"");
    }
}

bool key_recovers(const struct key *k, struct span signature, struct buf *inside)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(k->public, NULL);
    uint8_t *room = buf_room(inside, MODULUS_MAX);
    size_t len = MODULUS_MAX;
    bool good = ctx && room && EVP_PKEY_verify_recover_init(ctx) == 1 && EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) == 1 &&
                EVP_PKEY_verify_recover(ctx, room, &len, signature.data, signature.len) == 1;

    EVP_PKEY_CTX_free(ctx);
    ERR_clear_error();
    if (good)
        inside->len += len;
    return good;
}
