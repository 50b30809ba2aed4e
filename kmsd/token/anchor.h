/* The anchor's copy on the token: a public data object that the administrative lane keeps for the core. */
#ifndef KMS_TOKEN_ANCHOR_H
#define KMS_TOKEN_ANCHOR_H

#include "base/frame.h"
#include "kmsd/token/p11.h"

#define ANCHOR_BYTES 112            /* what the core writes; objects of another length are not ours */
#define ANCHOR_LABEL "kmsd:anchor:" /* and the instance, 32 hex digits */

/* FRAME_ANCHOR. With the field ANCHOR the object is replaced; a token cannot change one, so the new one comes before the old ones go. The answer carries what the
 * token holds then: after a crash between the two steps that is more than one slot, one behind the other, and the core takes the newest. An answer without
 * the field: the token has none, or, after a replacement, does not keep such objects. */
int anchor_verb(struct token *t, const struct frame *in, struct buf *out, struct fault *f) __attribute__((warn_unused_result));

#endif
