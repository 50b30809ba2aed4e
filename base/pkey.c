/* Tells the kind of a public key; what is not known here is not used. */
#include "base/pkey.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <stdbool.h>
#include <string.h>

#define RSA_BITS_MIN 2048
#define RSA_BITS_MAX 8192

/* By name and not by size: other curves have 256 bits too. */
static enum pkey_kind curve_kind(const EVP_PKEY *k)
{
    static const struct {
        const char *group;
        enum pkey_kind kind;
    } curves[] = {{"prime256v1", PKEY_P256}, {"secp384r1", PKEY_P384}};
    char group[64];
    size_t len = 0;
    int written_out = 0;

    if (EVP_PKEY_get_int_param(k, OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS, &written_out) != 1 || written_out ||
        EVP_PKEY_get_group_name(k, group, sizeof group, &len) != 1)
        return PKEY_OTHER;
    for (size_t n = 0; n < sizeof curves / sizeof *curves; n++)
        if (!strcmp(group, curves[n].group))
            return curves[n].kind;
    return PKEY_OTHER;
}

static enum pkey_kind rsa_kind(const EVP_PKEY *k)
{
    int bits = EVP_PKEY_get_bits(k);
    BIGNUM *e = NULL;
    bool good = bits >= RSA_BITS_MIN && bits <= RSA_BITS_MAX && EVP_PKEY_get_bn_param(k, OSSL_PKEY_PARAM_RSA_E, &e) == 1 &&
                BN_is_odd(e) && !BN_is_one(e);

    BN_free(e);
    return good ? PKEY_RSA : PKEY_OTHER;
}

enum pkey_kind pkey_kind(const EVP_PKEY *k)
{
    enum pkey_kind kind = PKEY_OTHER;

    switch (EVP_PKEY_get_base_id(k)) {
    case EVP_PKEY_ED25519:
        return PKEY_ED25519;
    case EVP_PKEY_EC:
        kind = curve_kind(k);
        break;
    case EVP_PKEY_RSA:
        kind = rsa_kind(k);
        break;
    default:
        break;
    }
    ERR_clear_error();
    return kind;
}
