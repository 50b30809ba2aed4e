/* The table of key algorithms. */
#include "kmsd/token/algorithm.h"

static const uint8_t p256_params[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
static const uint8_t p256_prefix[] = {0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01,
                                      0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00};
static const uint8_t ed25519_params[] = {0x06, 0x03, 0x2b, 0x65, 0x70};
static const uint8_t ed25519_prefix[] = {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00};

const struct algorithm algorithm_p256 = {
    .name = "p256",
    .scheme = "statement",
    .type = CKK_EC,
    .params = {p256_params, sizeof p256_params},
    .generate = CKM_EC_KEY_PAIR_GEN,
    .sign = CKM_ECDSA,
    .generate_name = "CKM_EC_KEY_PAIR_GEN",
    .sign_name = "CKM_ECDSA",
    .spki_prefix = {p256_prefix, sizeof p256_prefix},
    .point_len = 65,
    .prehash = true,
};
const struct algorithm algorithm_ed25519 = {
    .name = "ed25519",
    .type = CKK_EC_EDWARDS,
    .params = {ed25519_params, sizeof ed25519_params},
    .generate = CKM_EC_EDWARDS_KEY_PAIR_GEN,
    .sign = CKM_EDDSA,
    .generate_name = "CKM_EC_EDWARDS_KEY_PAIR_GEN",
    .sign_name = "CKM_EDDSA",
    .spki_prefix = {ed25519_prefix, sizeof ed25519_prefix},
    .point_len = 32,
};

static const struct algorithm *const all[] = {&algorithm_p256, &algorithm_ed25519};

const struct algorithm *algorithm_find(struct span name)
{
    for (size_t n = 0; n < sizeof all / sizeof *all; n++)
        if (span_eq_str(name, all[n]->name))
            return all[n];
    return NULL;
}
