/* Removal of a release key from the token. */
#ifndef KMS_TOKEN_DESTROY_H
#define KMS_TOKEN_DESTROY_H

#include "kmsd/token/key.h"

/* Removes the private and the public object of this CKA_ID and label once the public key is the recorded one, lists the token anew and syncs it. What an
 * earlier try removed is no error. proof: {"left": 0, "private", "public" (removed now), "token" {"label", "serial"}}; caller owns it. LANE_KEY when the
 * objects are others than the recorded key: nothing is removed then. */
int destroy_key(struct token *t, const struct algorithm *a, struct span id, const char *label, struct span spki, json_t **proof, struct fault *f)
    __attribute__((warn_unused_result));

#endif
