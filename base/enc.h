/* Encodings of bytes as text: lower-case hex (strict) and base64 (RFC 4648 section 4, strict, padded). */
#ifndef KMS_BASE_ENC_H
#define KMS_BASE_ENC_H

#include "base/buf.h"

/* out receives 2*len characters and a NUL. */
void hex_encode(const void *data, size_t len, char *out);
/* Exactly 2*len characters [0-9a-f]; -1 otherwise, out wiped. */
int hex_decode(const char *text, size_t text_len, uint8_t *out, size_t len) __attribute__((warn_unused_result));
void b64_encode(struct buf *out, const void *data, size_t len);
/* Appends; refuses white space, missing or extra padding, and non-zero trailing bits. */
int b64_decode(struct buf *out, const char *text, size_t len) __attribute__((warn_unused_result));
/* base64url without padding (RFC 7515), for JWK. */
void b64url_encode(struct buf *out, const void *data, size_t len);

#endif
