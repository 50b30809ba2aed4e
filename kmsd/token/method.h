/* Methods: how a token makes the signatures of a scheme with keys of an algorithm. */
#ifndef KMS_TOKEN_METHOD_H
#define KMS_TOKEN_METHOD_H

#include <openssl/evp.h>

#include "kmsd/token/algorithm.h"

#define HASH_MAX 48
#define DIGEST_INFO_MAX 32

enum method_input {
    INPUT_MESSAGE,    /* anything: kmsd's own certificates and checkpoints */
    INPUT_STATEMENT,  /* the encoding of one release statement */
    INPUT_DIGEST      /* exactly one digest of the scheme's hash */
};
struct hash {
    size_t len;
    unsigned char *(*run)(const unsigned char *data, size_t len, unsigned char *out);
    const EVP_MD *(*md)(void);
    struct span digest_info;     /* RSASSA-PKCS1-v1_5: DER before the digest (RFC 8017, 9.2) */
    CK_RSA_PKCS_PSS_PARAMS pss;  /* RSASSA-PSS: salt as long as the hash */
};
struct method {
    const char *name;                  /* of the scheme, as the core says it; NULL = of a key that is kmsd's own */
    const struct algorithm *algorithm;
    enum method_input input;
    CK_MECHANISM_TYPE mechanism;       /* the only one that a key made for the scheme allows */
    const char *mechanism_name;
    const struct hash *hash;           /* NULL: the token takes the message as it is */
};

extern const struct method method_ca, method_checkpoint;

/* NULL when keys of that algorithm have no such scheme. */
const struct method *method_find(struct span algorithm, struct span name);
/* Is this what the scheme signs? 0 = yes, -1 = no. */
int method_takes(const struct method *m, struct span input) __attribute__((warn_unused_result));

#endif
