/* What HELLO and birth records say about token and module. */
#ifndef KMS_TOKEN_DESCRIBE_H
#define KMS_TOKEN_DESCRIBE_H

#include "kmsd/token/p11.h"

/* Fills t->description {"firmware","label","manufacturer","model","module","module_sha256","serial"}. */
int describe_token(struct token *t, struct fault *f) __attribute__((warn_unused_result));

#endif
