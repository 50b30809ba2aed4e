/* SSH wire format (RFC 4251) and public key blobs, inside base only. */
#ifndef KMS_BASE_SSHBLOB_H
#define KMS_BASE_SSHBLOB_H

#include <openssl/evp.h>

#include "base/buf.h"
#include "base/err.h"

struct ssh_key {
    char type[48];        /* "ssh-ed25519" ... */
    EVP_PKEY *pkey;
    bool sk;              /* FIDO key: signs application, flags and counter too */
    struct span application;
};
/* Takes a string (u32 length, bytes) off the front. */
int ssh_take(struct span *from, struct span *out) __attribute__((warn_unused_result));
/* Takes a positive mpint in its only minimal form; out is the number without the sign byte. */
int ssh_take_mpint(struct span *from, struct span *out) __attribute__((warn_unused_result));
/* ERR_BAD_REQUEST for unknown types, weak keys, points off the curve, or bytes left over. Release with ssh_key_release. */
int ssh_key_parse(struct span blob, struct ssh_key *out, struct err *e) __attribute__((warn_unused_result));
void ssh_key_release(struct ssh_key *k);

#endif
