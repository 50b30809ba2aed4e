/* The table of kinds of key pair. */
#include "kmsd/token/algorithm.h"

static const uint8_t p256_params[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
static const uint8_t p256_prefix[] = {0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01,
                                      0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00};
static const uint8_t p384_params[] = {0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22};
static const uint8_t p384_prefix[] = {0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02,
                                      0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22, 0x03, 0x62, 0x00};
static const uint8_t ed25519_params[] = {0x06, 0x03, 0x2b, 0x65, 0x70};
static const uint8_t ed25519_prefix[] = {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00};

#define CURVE(name, len) {.params = {name##_params, sizeof name##_params}, .spki_prefix = {name##_prefix, sizeof name##_prefix}, .point_len = (len)}
static const struct curve curve_p256 = CURVE(p256, 65), curve_p384 = CURVE(p384, 97), curve_ed25519 = CURVE(ed25519, 32);

#define GENERATE(mechanism) .generate = CKM_##mechanism, .generate_name = "CKM_" #mechanism
#define RSA(text, bits) \
    {.name = (text), .type = CKK_RSA, GENERATE(RSA_PKCS_KEY_PAIR_GEN), .modulus_bits = (bits), .signature_len = (bits) / 8}

const struct algorithm algorithm_p256 = {
    .name = "p256", .type = CKK_EC, GENERATE(EC_KEY_PAIR_GEN), .curve = &curve_p256, .copies = true, .signature_len = 64};
const struct algorithm algorithm_p384 = {
    .name = "p384", .type = CKK_EC, GENERATE(EC_KEY_PAIR_GEN), .curve = &curve_p384, .signature_len = 96};
const struct algorithm algorithm_rsa_2048 = RSA("rsa-2048", 2048), algorithm_rsa_3072 = RSA("rsa-3072", 3072), algorithm_rsa_4096 = RSA("rsa-4096", 4096);
const struct algorithm algorithm_ed25519 = {
    .name = "ed25519", .type = CKK_EC_EDWARDS, GENERATE(EC_EDWARDS_KEY_PAIR_GEN), .curve = &curve_ed25519, .signature_len = 64};

const struct algorithm *algorithm_at(size_t n)
{
    static const struct algorithm *const all[] = {&algorithm_p256,     &algorithm_p384,     &algorithm_rsa_2048,
                                                  &algorithm_rsa_3072, &algorithm_rsa_4096, &algorithm_ed25519};

    return n < sizeof all / sizeof *all ? all[n] : NULL;
}
