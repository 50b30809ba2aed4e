/* Deciding offline whether an envelope vouches for an artifact. */
#ifndef KMS_CLIENT_VERIFY_H
#define KMS_CLIENT_VERIFY_H

#include "base/buf.h"
#include "base/err.h"
#include "client/kms.h"

/* As kms_verify, with a public key in DER and x->now taken as it is; x->sha256 NULL only where the caller compares it itself. */
int verify_envelope(struct span envelope, struct span spki, const struct kms_expect *x, struct kms_release *out, struct err *e)
    __attribute__((warn_unused_result));

#endif
