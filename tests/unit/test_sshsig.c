/* Tests of base/sshsig.c and base/sshblob.c: signatures that ssh-keygen made, and ones altered from them. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "base/fsutil.h"
#include "base/hash.h"
#include "base/sshsig.h"

#define DIR "tests/vectors/ssh/"
#define NS "test@kmsd"

static const char *const KEYS[] = {"ed25519", "ecdsa256", "ecdsa384", "ecdsa521", "rsa3072"};
#define N_KEYS (sizeof KEYS / sizeof *KEYS)
static const struct span MESSAGE = {(const uint8_t *)"the message\n", 12};

static void load(const char *name, const char *suffix, struct buf *out)
{
    char path[256];

    snprintf(path, sizeof path, DIR "%s%s", name, suffix);
    assert_int_equal(file_read(path, out, NULL), 0);
}

static void load_key(const char *name, char key[static SSH_KEY_TEXT_MAX])
{
    BUF_AUTO line = BUF_INIT(4096);

    load(name, ".pub", &line);
    line.data[line.len - 1] = '\0';
    assert_int_equal(ssh_key_normalise(buf_str(&line), key, SSH_KEY_TEXT_MAX, NULL), 0);
}

static void load_blob(const char *name, struct buf *blob)
{
    BUF_AUTO text = BUF_INIT(8192);

    load(name, ".sig", &text);
    assert_int_equal(sshsig_dearmor(buf_span(&text), blob, NULL), 0);
}

static int verify(const struct buf *blob, const char *ns, struct span message, const char *key)
{
    struct err e = {0};
    int r = sshsig_verify(buf_span(blob), ns, message, key, NULL, &e);

    assert_int_equal(e.code, r ? ERR_SIGNATURE_INVALID : ERR_NONE);
    return r;
}

static void verifies(void **state)
{
    (void)state;
    for (size_t n = 0; n < N_KEYS; n++) {
        BUF_AUTO blob = BUF_INIT(SSHSIG_MAX);
        char key[SSH_KEY_TEXT_MAX], inside[SSH_KEY_TEXT_MAX];
        uint8_t flags = 0xff;

        load_key(KEYS[n], key);
        load_blob(KEYS[n], &blob);
        assert_int_equal(sshsig_verify(buf_span(&blob), NS, MESSAGE, key, &flags, NULL), 0);
        assert_int_equal(flags, 0);
        assert_int_equal(sshsig_key(buf_span(&blob), inside, sizeof inside, NULL), 0);
        assert_string_equal(inside, key);
        assert_int_equal(verify(&blob, NS, span_str("the message"), key), -1);
        assert_int_equal(verify(&blob, NS, span_str(""), key), -1);
        assert_int_equal(verify(&blob, "other@kmsd", MESSAGE, key), -1);
        assert_int_equal(verify(&blob, "", MESSAGE, key), -1);
    }
}

static void other_hash_namespace_and_key(void **state)
{
    BUF_AUTO short_hash = BUF_INIT(SSHSIG_MAX), other_ns = BUF_INIT(SSHSIG_MAX), other_key = BUF_INIT(SSHSIG_MAX);
    char key[SSH_KEY_TEXT_MAX], other[SSH_KEY_TEXT_MAX], small[16];

    (void)state;
    load_key("ed25519", key);
    load_key("other", other);
    load_blob("ed25519-sha256", &short_hash);
    load_blob("ed25519-namespace", &other_ns);
    load_blob("other", &other_key);
    assert_int_equal(verify(&short_hash, NS, MESSAGE, key), 0);
    assert_int_equal(verify(&other_ns, NS, MESSAGE, key), -1);
    assert_int_equal(verify(&other_ns, "other@kmsd", MESSAGE, key), 0);
    assert_int_equal(verify(&other_key, NS, MESSAGE, key), -1);
    assert_int_equal(verify(&other_key, NS, MESSAGE, other), 0);
    assert_int_equal(sshsig_key(buf_span(&other_key), small, sizeof small, NULL), -1);
    assert_int_equal(sshsig_verify(buf_span(&other_key), NS, MESSAGE, key, NULL, NULL), -1); /* nobody asks why */
}

/* Every byte of a blob is either signed or part of its form: no single change is accepted. */
static void every_altered_byte_is_refused(void **state)
{
    (void)state;
    for (size_t n = 0; n < N_KEYS; n++) {
        BUF_AUTO blob = BUF_INIT(SSHSIG_MAX);
        char key[SSH_KEY_TEXT_MAX];

        load_key(KEYS[n], key);
        load_blob(KEYS[n], &blob);
        for (size_t i = 0; i < blob.len; i++) {
            blob.data[i] ^= (uint8_t)(1u << i % 8);
            assert_int_equal(verify(&blob, NS, MESSAGE, key), -1);
            blob.data[i] ^= (uint8_t)(1u << i % 8);
        }
        assert_int_equal(verify(&blob, NS, MESSAGE, key), 0);
    }
}

static void every_cut_is_refused(void **state)
{
    (void)state;
    for (size_t n = 0; n < N_KEYS; n++) {
        BUF_AUTO blob = BUF_INIT(SSHSIG_MAX);
        char key[SSH_KEY_TEXT_MAX];

        load_key(KEYS[n], key);
        load_blob(KEYS[n], &blob);
        buf_putc(&blob, 0);
        assert_int_equal(verify(&blob, NS, MESSAGE, key), -1); /* one byte too many */
        for (blob.len -= 2; blob.len; blob.len--)
            assert_int_equal(verify(&blob, NS, MESSAGE, key), -1);
        assert_int_equal(verify(&blob, NS, MESSAGE, key), -1);
    }
}

static void armour(void **state)
{
    static const char *const bad[] = {
        "", "-----BEGIN SSH SIGNATURE-----", "-----BEGIN SSH SIGNATURE-----\n-----END SSH SIGNATURE----",
        "x-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n",
        "-----BEGIN SSH SIGNATURE-----\nAA*A\n-----END SSH SIGNATURE-----\n", "-----BEGIN SSH SIGNATURE-----\nAAA\n-----END SSH SIGNATURE-----\n",
        "-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\nmore\n",
        "-----BEGIN PGP SIGNATURE-----\nAAAA\n-----END PGP SIGNATURE-----\n"};
    BUF_AUTO blob = BUF_INIT(SSHSIG_MAX), ended = BUF_INIT(64);
    struct err e = {0};

    (void)state;
    for (size_t n = 0; n < sizeof bad / sizeof *bad; n++) {
        assert_int_equal(sshsig_dearmor(span_str(bad[n]), &blob, &e), -1);
        assert_int_equal(e.code, ERR_SIGNATURE_INVALID);
    }
    assert_int_equal(sshsig_dearmor(span_of("-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n\0", 64), &blob, &e), -1);
    assert_int_equal(sshsig_dearmor(span_str("-----BEGIN SSH SIGNATURE-----\r\nAA\r\nAA\r\n-----END SSH SIGNATURE-----\r\n"), &ended, &e), 0);
    assert_true(span_eq(buf_span(&ended), span_of("\0\0\0", 3)));
}

/* A security key made of an ordinary Ed25519 key: the wire format of PROTOCOL.u2f with chosen flags. */
static void put(struct buf *b, const void *data, size_t len)
{
    buf_u32(b, (uint32_t)len);
    buf_put(b, data, len);
}

static void put_text(struct buf *b, const char *text)
{
    put(b, text, strlen(text));
}

static void sk_signed_data(struct buf *out, uint8_t flags)
{
    BUF_AUTO inner = BUF_INIT(512);
    uint8_t hash[64], app[SHA256_LEN], digest[SHA256_LEN];

    assert_int_equal(EVP_Digest(MESSAGE.data, MESSAGE.len, hash, NULL, EVP_sha512(), NULL), 1);
    buf_puts(&inner, "SSHSIG");
    put_text(&inner, NS);
    put_text(&inner, "");
    put_text(&inner, "sha512");
    put(&inner, hash, sizeof hash);
    sha256("ssh:", 4, app);
    sha256(inner.data, inner.len, digest);
    buf_put(out, app, sizeof app);
    buf_putc(out, flags);
    buf_u32(out, 7);
    buf_put(out, digest, sizeof digest);
}

static void sk_blob(struct buf *blob, uint8_t flags, char key[static SSH_KEY_TEXT_MAX])
{
    static const uint8_t seed[32] = {1, 2, 3};
    EVP_PKEY *k = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, sizeof seed);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    BUF_AUTO pub = BUF_INIT(256), inner = BUF_INIT(256), data = BUF_INIT(256);
    uint8_t raw[32], sig[64];
    size_t n = sizeof raw, m = sizeof sig;

    sk_signed_data(&data, flags);
    assert_int_equal(EVP_PKEY_get_raw_public_key(k, raw, &n), 1);
    assert_int_equal(EVP_DigestSignInit(ctx, NULL, NULL, NULL, k), 1);
    assert_int_equal(EVP_DigestSign(ctx, sig, &m, data.data, data.len), 1);
    put_text(&pub, "sk-ssh-ed25519@openssh.com");
    put(&pub, raw, sizeof raw);
    put_text(&pub, "ssh:");
    put_text(&inner, "sk-ssh-ed25519@openssh.com");
    put(&inner, sig, m);
    buf_putc(&inner, flags);
    buf_u32(&inner, 7);
    buf_puts(blob, "SSHSIG");
    buf_u32(blob, 1);
    put(blob, pub.data, pub.len);
    put_text(blob, NS);
    put_text(blob, "");
    put_text(blob, "sha512");
    put(blob, inner.data, inner.len);
    assert_int_equal(sshsig_key(buf_span(blob), key, SSH_KEY_TEXT_MAX, NULL), 0);
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(k);
}

static void security_keys_must_be_touched(void **state)
{
    static const struct {
        uint8_t flags;
        int result;
    } rows[] = {{1, 0}, {5, 0}, {0, -1}, {4, -1}};

    (void)state;
    for (size_t n = 0; n < sizeof rows / sizeof *rows; n++) {
        BUF_AUTO blob = BUF_INIT(SSHSIG_MAX);
        char key[SSH_KEY_TEXT_MAX];
        uint8_t flags = 0xff;

        sk_blob(&blob, rows[n].flags, key);
        assert_int_equal(sshsig_verify(buf_span(&blob), NS, MESSAGE, key, &flags, NULL), rows[n].result);
        assert_int_equal(flags, rows[n].result ? 0xff : rows[n].flags);
        blob.data[blob.len - 5] ^= 4; /* the flags are signed */
        assert_int_equal(verify(&blob, NS, MESSAGE, key), -1);
    }
}

/* A type that would make "type base64" ambiguous, and one that nobody knows. */
static void types_are_checked(void **state)
{
    BUF_AUTO blob = BUF_INIT(SSHSIG_MAX);
    char key[SSH_KEY_TEXT_MAX];

    (void)state;
    buf_puts(&blob, "SSHSIG");
    buf_u32(&blob, 1);
    buf_u32(&blob, 4 + 3);
    put(&blob, "a b", 3);
    for (int n = 0; n < 4; n++)
        put_text(&blob, "");
    assert_int_equal(sshsig_key(buf_span(&blob), key, sizeof key, NULL), -1);
    blob.data[19] = '\0';
    assert_int_equal(sshsig_key(buf_span(&blob), key, sizeof key, NULL), -1);
    blob.data[19] = 'y';
    assert_int_equal(sshsig_key(buf_span(&blob), key, sizeof key, NULL), 0);
    assert_string_equal(key, "ayb AAAAA2F5Yg==");
    assert_int_equal(verify(&blob, "", MESSAGE, key), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(verifies),
        cmocka_unit_test(other_hash_namespace_and_key),
        cmocka_unit_test(every_altered_byte_is_refused),
        cmocka_unit_test(every_cut_is_refused),
        cmocka_unit_test(armour),
        cmocka_unit_test(security_keys_must_be_touched),
        cmocka_unit_test(types_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
