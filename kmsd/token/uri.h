/* A token chosen by its PKCS#11 URI (RFC 7512), read by p11-kit. */
#ifndef KMS_TOKEN_URI_H
#define KMS_TOKEN_URI_H

#include "kmsd/token/p11.h"

struct token_uri;

/* The URI of the settings. It must say which token (token, serial or slot-id) and nothing of objects, PINs or what p11-kit does not know; a
 * module-path must be the module of the settings. NULL with LANE_HUMAN and the place in the file; free with token_uri_free. */
struct token_uri *token_uri_parse(const struct token_settings *s, struct fault *f);
void token_uri_free(struct token_uri *u);
/* 1 = the token in this slot fits, 0 = it does not, -1 = the module does not work. */
int token_uri_fits(const struct token *t, const struct token_uri *u, CK_SLOT_ID slot, struct fault *f) __attribute__((warn_unused_result));

#endif
