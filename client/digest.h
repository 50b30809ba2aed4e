/* Digests of files of any length. */
#ifndef KMS_CLIENT_DIGEST_H
#define KMS_CLIENT_DIGEST_H

#include <stdint.h>

#include "base/err.h"
#include "base/scheme.h"

/* Of an open descriptor, until its end; name is for the message; hash is "sha256" or "sha384". total > 0: shows on standard error how much of that many bytes is done. */
int digest_descriptor(int fd, const char *name, int64_t total, const char *hash, char hex[static SCHEME_DIGEST_HEX], int64_t *size, struct err *e)
    __attribute__((warn_unused_result));
/* Streams the file ("-" = standard input); shows progress on standard error when that is a terminal and the file is large. */
int digest_file(const char *path, const char *hash, char hex[static SCHEME_DIGEST_HEX], int64_t *size, struct err *e) __attribute__((warn_unused_result));

/* A file to hash, among many. */
struct digest_job {
    const char *path, *hash;
    char digest[SCHEME_DIGEST_HEX];
    int64_t size;
    int failed;
    struct err why;
};
/* Hashes all of them, several at a time; each has its outcome. */
void digest_many(struct digest_job *job, size_t n);

#endif
