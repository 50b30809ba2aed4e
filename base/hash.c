/* SHA-256 over OpenSSL. */
#include "base/hash.h"

#include <openssl/sha.h>
#include <stdlib.h>

#include "base/enc.h"

void sha256(const void *data, size_t len, uint8_t out[static SHA256_LEN])
{
    /* Fails only when the library is unusable or memory is out; there is no digest to go on with then. */
    if (!SHA256(len ? data : (const void *)"", len, out))
        abort();
}

void sha256_hex(const void *data, size_t len, char out[static SHA256_HEX])
{
    uint8_t digest[SHA256_LEN];

    sha256(data, len, digest);
    hex_encode(digest, sizeof digest, out);
}
