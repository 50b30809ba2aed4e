/* SHA-256 (FIPS 180-4). */
#ifndef KMS_BASE_HASH_H
#define KMS_BASE_HASH_H

#include "base/buf.h"

#define SHA256_LEN 32
#define SHA256_HEX 65 /* with NUL */

void sha256(const void *data, size_t len, uint8_t out[static SHA256_LEN]);
void sha256_hex(const void *data, size_t len, char out[static SHA256_HEX]);

#endif
