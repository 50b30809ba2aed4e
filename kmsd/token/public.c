/* The public half of a key pair as SubjectPublicKeyInfo. */
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/x509.h>

#include "kmsd/token/key.h"

#define EXPONENT_MAX 16

static int not_of(const struct algorithm *a, struct fault *f)
{
    return fault_set(f, LANE_KEY, "the public key is not of algorithm %s", a->name);
}

static int read_two(struct token *t, CK_OBJECT_HANDLE handle, const struct algorithm *a, CK_ATTRIBUTE get[static 2], struct fault *f)
{
    const CK_ULONG room[] = {get[0].ulValueLen, get[1].ulValueLen};
    CK_RV rv = t->f->C_GetAttributeValue(t->session, handle, get, 2);

    if (rv == CKR_BUFFER_TOO_SMALL || rv == CKR_ATTRIBUTE_TYPE_INVALID)
        return not_of(a, f);
    if (rv != CKR_OK)
        return fault_rv(f, rv, "C_GetAttributeValue");
    return get[0].ulValueLen > room[0] || get[1].ulValueLen > room[1] ? not_of(a, f) : 0;
}

/* CKA_EC_POINT is the point inside a DER OCTET STRING; some tokens leave the wrapping out. */
static struct span unwrap_point(const uint8_t *data, size_t len, size_t want)
{
    if (len == want + 2 && data[0] == 0x04 && data[1] == want)
        return span_of(data + 2, want);
    return span_of(data, len);
}

static int curve_spki(struct token *t, CK_OBJECT_HANDLE handle, const struct algorithm *a, struct buf *spki, struct fault *f)
{
    uint8_t point[POINT_MAX], params[32];
    CK_ATTRIBUTE get[] = {{CKA_EC_POINT, point, sizeof point}, {CKA_EC_PARAMS, params, sizeof params}};
    struct span p;

    if (read_two(t, handle, a, get, f))
        return -1;
    p = unwrap_point(point, get[0].ulValueLen, a->curve->point_len);
    if (!span_eq(span_of(params, get[1].ulValueLen), a->curve->params) || p.len != a->curve->point_len)
        return not_of(a, f);
    buf_put(spki, a->curve->spki_prefix.data, a->curve->spki_prefix.len);
    buf_put(spki, p.data, p.len);
    return 0;
}

static int encode_rsa(const BIGNUM *n, const BIGNUM *e, struct buf *spki)
{
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    OSSL_PARAM *params = NULL;
    EVP_PKEY *key = NULL;
    uint8_t *der = NULL;
    int len = 0;

    if (build && ctx && OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, n) == 1 && OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, e) == 1 &&
        (params = OSSL_PARAM_BLD_to_param(build)) && EVP_PKEY_fromdata_init(ctx) == 1 &&
        EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) == 1 && (len = i2d_PUBKEY(key, &der)) > 0)
        buf_put(spki, der, (size_t)len);
    OPENSSL_free(der);
    EVP_PKEY_free(key);
    OSSL_PARAM_free(params);
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_BLD_free(build);
    ERR_clear_error();
    return len > 0 ? 0 : -1;
}

static int rsa_spki(struct token *t, CK_OBJECT_HANDLE handle, const struct algorithm *a, struct buf *spki, struct fault *f)
{
    uint8_t modulus[MODULUS_MAX + 1], exponent[EXPONENT_MAX]; /* some tokens put a zero before the modulus */
    CK_ATTRIBUTE get[] = {{CKA_MODULUS, modulus, sizeof modulus}, {CKA_PUBLIC_EXPONENT, exponent, sizeof exponent}};
    BIGNUM *n, *e;
    int bad;

    if (read_two(t, handle, a, get, f))
        return -1;
    n = BN_bin2bn(modulus, (int)get[0].ulValueLen, NULL);
    e = BN_bin2bn(exponent, (int)get[1].ulValueLen, NULL);
    if (!n || !e)
        bad = fault_set(f, LANE_TOKEN, "out of memory");
    else if ((CK_ULONG)BN_num_bits(n) != a->modulus_bits || !BN_is_odd(n) || !BN_is_word(e, RSA_EXPONENT))
        bad = not_of(a, f);
    else
        bad = encode_rsa(n, e, spki) ? fault_set(f, LANE_TOKEN, "OpenSSL cannot encode the public key") : 0;
    BN_free(n);
    BN_free(e);
    return bad;
}

int key_public(struct token *t, const struct algorithm *a, struct span id, struct buf *spki, struct fault *f)
{
    struct object o;

    if (object_find(t, CKO_PUBLIC_KEY, a->type, id, &o, f) || (a->curve ? curve_spki : rsa_spki)(t, o.handle, a, spki, f))
        return -1;
    return buf_ok(spki) ? fault_set(f, LANE_TOKEN, "out of memory") : 0;
}
