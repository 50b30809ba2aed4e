/* Text from a log made harmless for a terminal. */
#ifndef KMS_VERIFY_PRINTABLE_H
#define KMS_VERIFY_PRINTABLE_H

#include "base/buf.h"

/* Appends text; control and format characters (bidirectional ones, zero-width ones, line separators) become \u{HEX},
 * bytes that are no UTF-8 become \xHH. */
void printable_put(struct buf *out, const char *text, size_t len);

#endif
