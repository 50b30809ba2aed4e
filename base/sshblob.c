/* Public key blobs of OpenSSH to OpenSSL keys: one table of types. */
#include "base/sshblob.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <string.h>

int ssh_take(struct span *from, struct span *out)
{
    size_t n;

    if (from->len < 4)
        return -1;
    n = (size_t)from->data[0] << 24 | (size_t)from->data[1] << 16 | (size_t)from->data[2] << 8 | from->data[3];
    if (n > from->len - 4)
        return -1;
    *out = span_of(from->data + 4, n);
    from->data += 4 + n;
    from->len -= 4 + n;
    return 0;
}

int ssh_take_mpint(struct span *from, struct span *out)
{
    struct span s;

    if (ssh_take(from, &s) || !s.len || s.data[0] & 0x80)
        return -1;
    if (s.data[0] == 0) {
        if (s.len < 2 || !(s.data[1] & 0x80))
            return -1;
        s = span_of(s.data + 1, s.len - 1);
    }
    *out = s;
    return 0;
}

static EVP_PKEY *from_params(const char *algorithm, OSSL_PARAM_BLD *bld)
{
    OSSL_PARAM *params = bld ? OSSL_PARAM_BLD_to_param(bld) : NULL;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, algorithm, NULL);
    EVP_PKEY *k = NULL;

    if (!params || !ctx || EVP_PKEY_fromdata_init(ctx) <= 0 || EVP_PKEY_fromdata(ctx, &k, EVP_PKEY_PUBLIC_KEY, params) <= 0)
        k = NULL;
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    ERR_clear_error();
    return k;
}

static EVP_PKEY *read_ed25519(struct span *rest, const char *curve)
{
    struct span raw;

    (void)curve;
    return ssh_take(rest, &raw) || raw.len != 32 ? NULL : EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, raw.data, raw.len);
}

static EVP_PKEY *read_ecdsa(struct span *rest, const char *curve)
{
    static const char *const groups[][2] = {{"nistp256", "P-256"}, {"nistp384", "P-384"}, {"nistp521", "P-521"}};
    struct span name, point;
    OSSL_PARAM_BLD *bld;
    EVP_PKEY *k = NULL;

    if (ssh_take(rest, &name) || ssh_take(rest, &point) || !span_eq_str(name, curve) || !point.len || point.data[0] != 4)
        return NULL;
    bld = OSSL_PARAM_BLD_new();
    for (size_t n = 0; bld && n < sizeof groups / sizeof *groups; n++)
        if (!strcmp(groups[n][0], curve) && OSSL_PARAM_BLD_push_utf8_string(bld, OSSL_PKEY_PARAM_GROUP_NAME, groups[n][1], 0) &&
            OSSL_PARAM_BLD_push_octet_string(bld, OSSL_PKEY_PARAM_PUB_KEY, point.data, point.len))
            k = from_params("EC", bld);
    OSSL_PARAM_BLD_free(bld);
    return k;
}

static EVP_PKEY *read_rsa(struct span *rest, const char *curve)
{
    struct span e, n;
    OSSL_PARAM_BLD *bld;
    BIGNUM *be, *bn;
    EVP_PKEY *k = NULL;

    (void)curve;
    if (ssh_take_mpint(rest, &e) || ssh_take_mpint(rest, &n) || e.len > 8 || n.len > 1024)
        return NULL;
    bld = OSSL_PARAM_BLD_new();
    be = BN_bin2bn(e.data, (int)e.len, NULL);
    bn = BN_bin2bn(n.data, (int)n.len, NULL);
    if (bld && be && bn && BN_num_bits(bn) >= 2048 && BN_is_odd(be) && !BN_is_one(be) && OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_N, bn) &&
        OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_E, be))
        k = from_params("RSA", bld);
    BN_free(be);
    BN_free(bn);
    OSSL_PARAM_BLD_free(bld);
    return k;
}

static const struct {
    const char *type, *curve;
    bool sk;
    EVP_PKEY *(*read)(struct span *rest, const char *curve);
} TYPES[] = {
    {"ssh-ed25519", NULL, false, read_ed25519},
    {"ecdsa-sha2-nistp256", "nistp256", false, read_ecdsa},
    {"ecdsa-sha2-nistp384", "nistp384", false, read_ecdsa},
    {"ecdsa-sha2-nistp521", "nistp521", false, read_ecdsa},
    {"ssh-rsa", NULL, false, read_rsa},
    {"sk-ssh-ed25519@openssh.com", NULL, true, read_ed25519},
    {"sk-ecdsa-sha2-nistp256@openssh.com", "nistp256", true, read_ecdsa},
};

int ssh_key_parse(struct span blob, struct ssh_key *out, struct err *e)
{
    struct span rest = blob, type;

    memset(out, 0, sizeof *out);
    if (ssh_take(&rest, &type))
        return err_set(e, ERR_BAD_REQUEST, "the SSH public key is cut short");
    for (size_t n = 0; n < sizeof TYPES / sizeof *TYPES; n++) {
        if (!span_eq_str(type, TYPES[n].type))
            continue;
        memcpy(out->type, TYPES[n].type, strlen(TYPES[n].type) + 1);
        out->sk = TYPES[n].sk;
        out->pkey = TYPES[n].read(&rest, TYPES[n].curve);
        if (out->pkey && (!out->sk || !ssh_take(&rest, &out->application)) && !rest.len)
            return 0;
        ssh_key_release(out);
        return err_set(e, ERR_BAD_REQUEST, "the SSH public key of type %s is damaged or too weak (RSA needs 2048 bits)", TYPES[n].type);
    }
    return err_set(e, ERR_BAD_REQUEST, "SSH keys of type %.*s are not accepted; use ed25519, ecdsa, rsa or their security key forms",
                   (int)(type.len > 40 ? 40 : type.len), (const char *)type.data);
}

void ssh_key_release(struct ssh_key *k)
{
    EVP_PKEY_free(k->pkey);
    k->pkey = NULL;
}
