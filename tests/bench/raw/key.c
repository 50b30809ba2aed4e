/* One key of the token, used without the service: what the hardware and the module allow at most. */
#include <openssl/ecdsa.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <string.h>
#include <unistd.h>

#include "base/fsutil.h"
#include "tests/bench/raw/raw.h"

static struct settings settings;

static int find_key(struct raw_key *k, const char *label, struct err *e)
{
    const struct object_index *all = k->token.objects;

    for (size_t n = 0; n < all->n; n++)
        if (all->list[n].class == CKO_PRIVATE_KEY && !strcmp(all->list[n].label, label)) {
            k->handle = all->list[n].handle;
            return 0;
        }
    return err_set(e, ERR_NOT_FOUND, "the token has no private key with the label %s", label);
}

static int read_public(struct raw_key *k, const char *file, struct err *e)
{
    BIO *in = BIO_new_file(file, "r");

    k->public = in ? PEM_read_bio_PUBKEY(in, NULL, NULL, NULL) : NULL;
    BIO_free(in);
    k->check = k->public ? EVP_PKEY_CTX_new(k->public, NULL) : NULL;
    if (!k->check || EVP_PKEY_verify_init(k->check) != 1 || EVP_PKEY_CTX_set_signature_md(k->check, EVP_sha256()) != 1 ||
        (k->pss && (EVP_PKEY_CTX_set_rsa_padding(k->check, RSA_PKCS1_PSS_PADDING) != 1 || EVP_PKEY_CTX_set_rsa_pss_saltlen(k->check, 32) != 1)))
        return err_set(e, ERR_BAD_REQUEST, "%s is no usable public key", file);
    return 0;
}

int raw_open(const struct raw_options *o, struct raw_key *k, struct err *e)
{
    struct fault f = {0};
    int lock, bad;

    k->pss = o->pss;
    if (settings_load(o->settings, &settings, e))
        return -1;
    lock = lock_file(settings.tokens_lock, 30000, e);
    if (lock < 0)
        return -1;
    bad = token_open(&k->token, &settings.keys, &f);
    close(lock);
    return bad ? err_set(e, ERR_TOKEN_UNAVAILABLE, "%s", f.reason) : find_key(k, o->label, e) || read_public(k, o->public, e) ? -1 : 0;
}

void raw_close(struct raw_key *k)
{
    EVP_PKEY_CTX_free(k->check);
    EVP_PKEY_free(k->public);
    token_close(&k->token);
}

int raw_sign(struct raw_key *k, const uint8_t digest[static 32], struct raw_signature *out)
{
    CK_RSA_PKCS_PSS_PARAMS pss = {CKM_SHA256, CKG_MGF1_SHA256, 32};
    CK_MECHANISM ecdsa = {CKM_ECDSA, NULL, 0}, rsa = {CKM_RSA_PKCS_PSS, &pss, sizeof pss};
    uint8_t input[32];

    memcpy(input, digest, sizeof input);
    out->len = sizeof out->bytes;
    return k->token.f->C_SignInit(k->token.session, k->pss ? &rsa : &ecdsa, k->handle) == CKR_OK &&
                   k->token.f->C_Sign(k->token.session, input, sizeof input, out->bytes, &out->len) == CKR_OK
               ? 0
               : -1;
}

static int verify_der(struct raw_key *k, const uint8_t *digest, const struct raw_signature *s)
{
    int half = (int)(s->len / 2), n, good = 0;
    ECDSA_SIG *sig = ECDSA_SIG_new();
    uint8_t *der = NULL;

    if (sig && ECDSA_SIG_set0(sig, BN_bin2bn(s->bytes, half, NULL), BN_bin2bn(s->bytes + half, half, NULL)) == 1 && (n = i2d_ECDSA_SIG(sig, &der)) > 0)
        good = EVP_PKEY_verify(k->check, der, (size_t)n, digest, 32) == 1;
    OPENSSL_free(der);
    ECDSA_SIG_free(sig);
    return good ? 0 : -1;
}

int raw_verify(struct raw_key *k, const uint8_t digest[static 32], const struct raw_signature *s)
{
    if (!k->pss)
        return verify_der(k, digest, s);
    return EVP_PKEY_verify(k->check, s->bytes, s->len, digest, 32) == 1 ? 0 : -1;
}
