/* The verifier's own writer of RFC 8785 text, against which every line is compared byte for byte. */
#ifndef KMS_VERIFY_CANON_H
#define KMS_VERIFY_CANON_H

#include "base/buf.h"
#include "base/json.h"

/* Appends the RFC 8785 form of a string, quotes included (well-formed UTF-8). */
void canon_string(struct buf *out, const char *text, size_t len);
/* The same of a number that is not negative. */
void canon_count(struct buf *out, uint64_t n);
/* Appends the RFC 8785 form of a value; fails the buffer on a real, an integer beyond 2^53-1, or a member name other than [a-z0-9_]+. */
void canon_value(struct buf *out, const json_t *value);
/* Are these bytes the form that canon_value gives the value that was read from them? scratch is reused between calls. */
bool canon_same(struct buf *scratch, const json_t *value, struct span line);

#endif
