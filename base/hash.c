/* SHA-256 over OpenSSL. */
#include "base/hash.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/enc.h"

static EVP_MD *algorithm;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* To find it takes as long as to hash 600 bytes. */
static void find_algorithm(void)
{
    algorithm = EVP_MD_fetch(NULL, "SHA256", NULL);
}

void sha256(const void *data, size_t len, uint8_t out[static SHA256_LEN])
{
    /* Fails only when the library is unusable or memory is out; there is no digest to go on with then. */
    if (pthread_once(&once, find_algorithm) || !algorithm || !EVP_Digest(len ? data : (const void *)"", len, out, NULL, algorithm, NULL))
        abort();
}

void sha256_hex(const void *data, size_t len, char out[static SHA256_HEX])
{
    uint8_t digest[SHA256_LEN];

    sha256(data, len, digest);
    hex_encode(digest, sizeof digest, out);
}
