/* The table of methods. */
#include "kmsd/token/method.h"

#include <openssl/sha.h>

#include "base/hash.h"
#include "kmsd/token/statement.h"

static const uint8_t sha256_info[] = {0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20};

/* The library's own SHA256 looks its algorithm up each time. */
static unsigned char *run_sha256(const unsigned char *data, size_t len, unsigned char *out)
{
    sha256(data, len, out);
    return out;
}

static const struct hash hash_sha256 = {
    .len = SHA256_DIGEST_LENGTH,
    .run = run_sha256,
    .md = EVP_sha256,
    .digest_info = {sha256_info, sizeof sha256_info},
    .pss = {.hashAlg = CKM_SHA256, .mgf = CKG_MGF1_SHA256, .sLen = SHA256_DIGEST_LENGTH},
};
/* No RSA key here goes with it. */
static const struct hash hash_sha384 = {.len = SHA384_DIGEST_LENGTH, .run = SHA384, .md = EVP_sha384};

#define ROW(text, key, shape, with, digest) \
    {.name = (text), .algorithm = &algorithm_##key, .input = (shape), .mechanism = CKM_##with, .mechanism_name = "CKM_" #with, .hash = (digest)}
#define STATEMENT(key, with, digest) ROW("statement", key, INPUT_STATEMENT, with, digest)
#define DIGEST(key, with, digest) ROW("digest", key, INPUT_DIGEST, with, digest)
#define DIGEST_PKCS1(key) ROW("digest-pkcs1", key, INPUT_DIGEST, RSA_PKCS, &hash_sha256)

const struct method method_ca = ROW(NULL, p256, INPUT_MESSAGE, ECDSA, &hash_sha256);
const struct method method_checkpoint = ROW(NULL, ed25519, INPUT_MESSAGE, EDDSA, NULL);

static const struct method methods[] = {
    STATEMENT(p256, ECDSA, &hash_sha256),
    STATEMENT(p384, ECDSA, &hash_sha384),
    STATEMENT(rsa_3072, RSA_PKCS_PSS, &hash_sha256),
    STATEMENT(rsa_4096, RSA_PKCS_PSS, &hash_sha256),
    STATEMENT(ed25519, EDDSA, NULL),
    DIGEST(p256, ECDSA, &hash_sha256),
    DIGEST(p384, ECDSA, &hash_sha384),
    DIGEST(rsa_2048, RSA_PKCS_PSS, &hash_sha256),
    DIGEST(rsa_3072, RSA_PKCS_PSS, &hash_sha256),
    DIGEST(rsa_4096, RSA_PKCS_PSS, &hash_sha256),
    DIGEST_PKCS1(rsa_2048),
    DIGEST_PKCS1(rsa_3072),
    DIGEST_PKCS1(rsa_4096),
};

const struct method *method_find(struct span algorithm, struct span name)
{
    for (size_t n = 0; n < sizeof methods / sizeof *methods; n++)
        if (span_eq_str(algorithm, methods[n].algorithm->name) && span_eq_str(name, methods[n].name))
            return &methods[n];
    return NULL;
}

int method_takes(const struct method *m, struct span input)
{
    switch (m->input) {
    case INPUT_STATEMENT:
        return statement_shape(input);
    case INPUT_DIGEST:
        return input.len == m->hash->len ? 0 : -1;
    case INPUT_MESSAGE:
        return 0;
    }
    return -1;
}
