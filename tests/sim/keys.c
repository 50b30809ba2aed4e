/* Key material, certificates and policies of the simulated world. */
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "base/enc.h"
#include "tests/sim/sim.h"

static const char *const POLICY[SIM_POLICIES] = {
    "version: 1\nroles:\n  admin:\n    - {name: all, allow: [audit.read, policy.apply, policy.read, identity.disable, identity.enable, status.read, "
    "key.create, release.withdraw, time.confirm, key.suspend, key.resume, key.retire, key.compromise, key.destroy, key.restore]}\n"
    "  signer:\n    - {name: sign, allow: [sign], keys: [release, 'k*'], apps: [app], channels: [main]}\n"
    "grants:\n  - {role: admin, to: [founders]}\n  - {role: signer, to: ['identity:ci-a', 'identity:ci-b']}\n",
    "version: 1\nroles:\n  admin:\n    - {name: all, allow: [audit.read, policy.apply, policy.read, identity.disable, identity.enable, status.read, "
    "key.create, release.withdraw, time.confirm, key.suspend, key.resume, key.retire, key.compromise, key.destroy, key.restore]}\n"
    "  signer:\n    - {name: sign, allow: [sign], keys: [release, 'k*'], apps: [app], channels: [main]}\n"
    "grants:\n  - {role: admin, to: [founders]}\n  - {role: signer, to: ['identity:ci-a']}\n",
};

static void must(bool ok)
{
    if (!ok)
        abort();
}

static void to_der(struct buf *out, const void *object, int (*encode)(const void *object, unsigned char **pp))
{
    unsigned char *der = NULL;
    int n = encode(object, &der);

    must(n > 0);
    *out = BUF_INIT(16384);
    buf_put(out, der, (size_t)n);
    OPENSSL_free(der);
}

static int encode_cert(const void *object, unsigned char **pp)
{
    return i2d_X509(object, pp);
}

static int encode_spki(const void *object, unsigned char **pp)
{
    return i2d_PUBKEY(object, pp);
}

static void certificate(EVP_PKEY *subject, EVP_PKEY *issuer, long serial, struct buf *der)
{
    X509 *x = X509_new();
    X509_NAME *name = X509_get_subject_name(x);
    X509_EXTENSION *eku = X509V3_EXT_conf_nid(NULL, NULL, NID_ext_key_usage, "clientAuth");

    must(x && eku && X509_set_version(x, 2) && ASN1_INTEGER_set(X509_get_serialNumber(x), serial) &&
         X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"sim", -1, -1, 0) && X509_set_issuer_name(x, name) &&
         ASN1_TIME_set(X509_getm_notBefore(x), 0) && ASN1_TIME_set(X509_getm_notAfter(x), 4000000000L) && X509_set_pubkey(x, subject) &&
         X509_add_ext(x, eku, -1) && X509_sign(x, issuer, EVP_sha256()));
    to_der(der, x, encode_cert);
    X509_EXTENSION_free(eku);
    X509_free(x);
}

static void put_string(struct buf *b, const void *data, size_t len)
{
    buf_u32(b, (uint32_t)len);
    buf_put(b, data, len);
}

static void ssh_public(const struct sim_person *p, struct buf *blob)
{
    uint8_t raw[32];
    size_t n = sizeof raw;

    must(EVP_PKEY_get_raw_public_key(p->ssh, raw, &n));
    put_string(blob, "ssh-ed25519", 11);
    put_string(blob, raw, n);
}

void sim_ssh_sign(const struct sim_person *p, struct span message, struct buf *b64)
{
    BUF_AUTO data = BUF_INIT(4096), sig = BUF_INIT(4096), pub = BUF_INIT(256), inner = BUF_INIT(256);
    uint8_t hash[64], raw[64];
    unsigned hash_len;
    size_t n = sizeof raw;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    must(EVP_Digest(message.data, message.len, hash, &hash_len, EVP_sha512(), NULL));
    buf_put(&data, "SSHSIG", 6);
    put_string(&data, "kmsd-request@v1", 15);
    put_string(&data, "", 0);
    put_string(&data, "sha512", 6);
    put_string(&data, hash, hash_len);
    must(EVP_DigestSignInit(ctx, NULL, NULL, NULL, p->ssh) && EVP_DigestSign(ctx, raw, &n, data.data, data.len));
    EVP_MD_CTX_free(ctx);
    ssh_public(p, &pub);
    put_string(&inner, "ssh-ed25519", 11);
    put_string(&inner, raw, n);
    buf_put(&sig, "SSHSIG", 6);
    buf_u32(&sig, 1);
    put_string(&sig, pub.data, pub.len);
    put_string(&sig, "kmsd-request@v1", 15);
    put_string(&sig, "", 0);
    put_string(&sig, "sha512", 6);
    put_string(&sig, inner.data, inner.len);
    b64_encode(b64, sig.data, sig.len);
}

void sim_keys_make(struct sim_keys *k)
{
    BUF_AUTO blob = BUF_INIT(256), line = BUF_INIT(512);
    struct sim_person *admin = &k->person[SIM_PEOPLE - 1];

    memset(k, 0, sizeof *k);
    k->ca = EVP_EC_gen("P-256");
    k->release = EVP_EC_gen("P-256");
    must(k->ca && k->release);
    certificate(k->ca, k->ca, 1, &k->ca_cert);
    to_der(&k->ca_spki, k->ca, encode_spki);
    to_der(&k->release_spki, k->release, encode_spki);
    for (unsigned n = 0; n < SIM_PEOPLE; n++) {
        k->person[n].tls = EVP_EC_gen("P-256");
        certificate(k->person[n].tls, k->ca, 2 + (long)n, &k->person[n].cert);
        sha256_hex(k->person[n].cert.data, k->person[n].cert.len, k->person[n].cert_sha256);
    }
    admin->ssh = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    ssh_public(admin, &blob);
    buf_puts(&line, "ssh-ed25519 ");
    b64_encode(&line, blob.data, blob.len);
    memcpy(admin->ssh_line, line.data, line.len + 1);
    for (unsigned n = 0; n < SIM_POLICIES; n++) {
        memcpy(k->policy_text[n], POLICY[n], strlen(POLICY[n]) + 1);
        sha256_hex(POLICY[n], strlen(POLICY[n]), k->policy_sha256[n]);
    }
}

void sim_keys_free(struct sim_keys *k)
{
    EVP_PKEY_free(k->ca);
    EVP_PKEY_free(k->release);
    buf_free(&k->ca_cert);
    buf_free(&k->ca_spki);
    buf_free(&k->release_spki);
    for (unsigned n = 0; n < SIM_PEOPLE; n++) {
        EVP_PKEY_free(k->person[n].tls);
        EVP_PKEY_free(k->person[n].ssh);
        buf_free(&k->person[n].cert);
    }
}
