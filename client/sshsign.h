/* Signatures of people over administrative requests, made by ssh-keygen so that agents and hardware keys work. */
#ifndef KMS_CLIENT_SSHSIGN_H
#define KMS_CLIENT_SSHSIGN_H

#include "base/buf.h"
#include "base/err.h"

#define SSHSIGN_NAMESPACE "kmsd-request@v1"
#define SSHSIGN_HEADER_MAX (8u << 10) /* base64 of the longest SSHSIG with the name of its header */

/* The bytes a person signs: canonical JSON of {body_sha256, instance, method, nonce, path}; appended. path = request target as sent. */
int sshsign_message(const char *instance, const char *nonce, const char *method, const char *path, struct span body, struct buf *out, struct err *e)
    __attribute__((warn_unused_result));
/* Runs `ssh-keygen -Y sign -f key_file`; appends base64 of the binary SSHSIG. May ask for a passphrase or a touch on the terminal. */
int sshsign_sign(const char *key_file, struct span message, struct buf *base64, struct err *e) __attribute__((warn_unused_result));

#endif
