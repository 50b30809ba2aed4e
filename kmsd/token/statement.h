/* The exact input shape of scheme "statement". */
#ifndef KMS_TOKEN_STATEMENT_H
#define KMS_TOKEN_STATEMENT_H

#include "base/buf.h"

/* Is this the DSSE v1 pre-authentication encoding of one in-toto JSON object, its length as told? 0 = yes, -1 = no. */
int statement_shape(struct span input) __attribute__((warn_unused_result));

#endif
