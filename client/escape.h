/* Text of strangers made safe to print: control, bidirectional, invisible and invalid characters become visible escapes. */
#ifndef KMS_CLIENT_ESCAPE_H
#define KMS_CLIENT_ESCAPE_H

#include "base/buf.h"

enum escape_mode {
    ESCAPE_LINE,   /* everything on one line: LF and TAB are escaped too */
    ESCAPE_BLOCK,  /* LF and TAB pass */
    ESCAPE_JSON    /* the input is JSON text: escapes are \uXXXX, so that it stays the same JSON value */
};
/* Appends the printable form of text. ESCAPE_LINE and ESCAPE_BLOCK write \xHH for bytes and \u{H} for characters. */
void escape_text(struct buf *out, struct span text, enum escape_mode mode);
/* Number of characters (not bytes) of escaped text, for column widths. */
size_t escape_width(struct span text);

#endif
