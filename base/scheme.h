/* What a release key can sign: which algorithm goes with which scheme, and the hash that belongs to them. A key has one algorithm and one scheme from its creation. */
#ifndef KMS_BASE_SCHEME_H
#define KMS_BASE_SCHEME_H

#include <stdbool.h>
#include <stddef.h>

#define SCHEME_DIGEST_MAX 48   /* bytes of the longest digest that a scheme takes */
#define SCHEME_DIGEST_HEX 97   /* its hexadecimal text with NUL */

struct scheme {
    const char *algorithm, *scheme;
    bool statement;    /* signs release statements (DSSE); false: the digest that the caller sends */
    bool pkcs1;        /* RSA with the padding of PKCS#1 v1.5; false: PSS with a salt as long as the hash */
    bool ecdsa;
    const char *hash;  /* of the signature and, unless it is a statement, of what the caller sends: "sha256"; NULL for Ed25519, which takes the message */
    size_t hash_len;   /* bytes */
};

/* NULL: that algorithm does not go with that scheme. */
const struct scheme *scheme_find(const char *algorithm, const char *scheme);
/* Walks the table; NULL behind the last row. */
const struct scheme *scheme_at(size_t n);
/* Bytes of a digest by the name of its hash ("sha256"), 0 = unknown. */
size_t hash_length(const char *hash);

#endif
