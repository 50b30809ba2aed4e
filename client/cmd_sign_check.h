/* kmsctl sign --pub: signatures are verified before they are written. */
#ifndef KMS_CLIENT_CMD_SIGN_CHECK_H
#define KMS_CLIENT_CMD_SIGN_CHECK_H

#include "client/command.h"

/* Reads --pub into spki (initialised here), which stays empty without it. */
int sign_check_key(struct context *c, struct buf *spki) __attribute__((warn_unused_result));
/* Is it a signature of that key over what was asked for? Says yes without a key. */
int sign_check(struct context *c, struct span spki, const struct kms_sign_request *rq, const struct kms_signature *s) __attribute__((warn_unused_result));

#endif
