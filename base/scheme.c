/* The table of algorithms and schemes. */
#include "base/scheme.h"

#include <string.h>

static const struct scheme TABLE[] = {
    {"p256", "statement", .statement = true, .ecdsa = true, .hash = "sha256", .hash_len = 32},
    {"p384", "statement", .statement = true, .ecdsa = true, .hash = "sha384", .hash_len = 48},
    {"rsa-3072", "statement", .statement = true, .hash = "sha256", .hash_len = 32},
    {"rsa-4096", "statement", .statement = true, .hash = "sha256", .hash_len = 32},
    {"ed25519", "statement", .statement = true},
    {"p256", "digest", .ecdsa = true, .hash = "sha256", .hash_len = 32},
    {"p384", "digest", .ecdsa = true, .hash = "sha384", .hash_len = 48},
    {"rsa-2048", "digest", .hash = "sha256", .hash_len = 32},
    {"rsa-3072", "digest", .hash = "sha256", .hash_len = 32},
    {"rsa-4096", "digest", .hash = "sha256", .hash_len = 32},
    {"rsa-2048", "digest-pkcs1", .pkcs1 = true, .hash = "sha256", .hash_len = 32},
    {"rsa-3072", "digest-pkcs1", .pkcs1 = true, .hash = "sha256", .hash_len = 32},
    {"rsa-4096", "digest-pkcs1", .pkcs1 = true, .hash = "sha256", .hash_len = 32},
};

const struct scheme *scheme_at(size_t n)
{
    return n < sizeof TABLE / sizeof *TABLE ? &TABLE[n] : NULL;
}

const struct scheme *scheme_find(const char *algorithm, const char *scheme)
{
    const struct scheme *s;

    for (size_t n = 0; (s = scheme_at(n)); n++)
        if (!strcmp(s->algorithm, algorithm) && !strcmp(s->scheme, scheme))
            return s;
    return NULL;
}

size_t hash_length(const char *hash)
{
    const struct scheme *s;

    for (size_t n = 0; (s = scheme_at(n)); n++)
        if (s->hash && !strcmp(s->hash, hash))
            return s->hash_len;
    return 0;
}
