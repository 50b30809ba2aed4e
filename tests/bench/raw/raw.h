/* What the files of the raw-token baseline share. */
#ifndef KMS_BENCH_RAW_H
#define KMS_BENCH_RAW_H

#include <openssl/evp.h>

#include "kmsd/token/object.h"

#define RAW_BYTES 512 /* the longest signature: RSA-4096 */
#define PROCESSES_MAX 8

struct raw_options {
    const char *settings, *label, *public, *dir; /* dir: where `stages` appends to a file */
    bool pss, verify, stages;
    unsigned processes;
    uint64_t ms;
};
/* A key of the token and the public half that its signatures are checked with. */
struct raw_key {
    struct token token;
    CK_OBJECT_HANDLE handle;
    EVP_PKEY *public;
    EVP_PKEY_CTX *check;
    bool pss;
};
struct raw_signature {
    uint8_t bytes[RAW_BYTES];
    CK_ULONG len;
};

int64_t now_us(void);
/* Opens the token as a lane does, under the lock of the settings. */
int raw_open(const struct raw_options *o, struct raw_key *k, struct err *e) __attribute__((warn_unused_result));
void raw_close(struct raw_key *k);
/* C_SignInit and C_Sign over 32 bytes. */
int raw_sign(struct raw_key *k, const uint8_t digest[static 32], struct raw_signature *out) __attribute__((warn_unused_result));
/* With OpenSSL, as a lane does it without any table of its own. */
int raw_verify(struct raw_key *k, const uint8_t digest[static 32], const struct raw_signature *s) __attribute__((warn_unused_result));
/* stages.c: one process, one signature after the other; prints the median of each stage. */
int stages(const struct raw_options *o, struct err *e) __attribute__((warn_unused_result));

#endif
