/* Public keys that verify many signatures: read once, and OpenSSL made ready for them once a thread, which is a tenth of a P-256 signature each time. */
#ifndef KMS_VERIFY_PUBKEY_H
#define KMS_VERIFY_PUBKEY_H

#include "base/buf.h"
#include "base/err.h"
#include "base/scheme.h"

#define PUBKEY_THREADS 64

struct pubkey;
/* A key (SPKI, DER) of that scheme. NULL with e filled when it is none. */
struct pubkey *pubkey_open(struct span spki, const struct scheme *scheme, struct err *e);
void pubkey_close(struct pubkey *k);
/* Over the bytes that were signed, or over their digest where the scheme is one for digests. Several threads at once, each with a number of its own below
 * PUBKEY_THREADS. */
bool pubkey_verify(struct pubkey *k, unsigned thread, struct span signed_bytes, struct span signature);

#endif
