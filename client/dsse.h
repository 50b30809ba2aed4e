/* DSSE envelopes (github.com/secure-systems-lab/dsse, envelope.md): strict reading, pre-authentication encoding, verification. */
#ifndef KMS_CLIENT_DSSE_H
#define KMS_CLIENT_DSSE_H

#include "base/buf.h"
#include "base/err.h"
#include "base/hash.h"

#define DSSE_ENVELOPE_MAX (256u << 10)
#define DSSE_PAYLOAD_MAX (64u << 10)
#define DSSE_SIGNATURE_MAX 1024u

struct dsse {
    struct buf payload;        /* decoded */
    struct buf signature;      /* decoded */
    char keyid[SHA256_HEX];    /* as the envelope says; a hint until dsse_verify has compared it */
};
#define DSSE_AUTO __attribute__((cleanup(dsse_free))) struct dsse
void dsse_free(struct dsse *d);
/* One envelope with payloadType application/vnd.in-toto+json and exactly one signature; any other member is refused. Zero-initialise *out. */
int dsse_parse(struct span text, struct dsse *out, struct err *e) __attribute__((warn_unused_result));
/* The bytes that were signed, appended. */
void dsse_pae(const struct dsse *d, struct buf *out);
/* keyid is that of this public key (SPKI DER) and the signature is good. 0 = yes. */
int dsse_verify(const struct dsse *d, struct span spki, struct err *e) __attribute__((warn_unused_result));

#endif
