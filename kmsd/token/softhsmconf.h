/* The SoftHSM configuration of one token directory. */
#ifndef KMS_TOKEN_SOFTHSMCONF_H
#define KMS_TOKEN_SOFTHSMCONF_H

#include "base/buf.h"

/* softhsm-config/softhsm2.conf.in with @TOKENDIR@ replaced, appended. */
void softhsm_conf(struct buf *out, const char *token_dir);

#endif
