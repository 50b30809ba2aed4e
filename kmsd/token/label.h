/* Labels of kmsd's objects: what a key is for. */
#ifndef KMS_TOKEN_LABEL_H
#define KMS_TOKEN_LABEL_H

#include "kmsd/token/object.h"

#define LABEL_CA "kmsd:ca"
#define LABEL_CHECKPOINT "kmsd:checkpoint"

/* "kmsd:release:<name>:<version>", as the core asks, becomes the label of a key for this scheme: the same for "statement", with ":<scheme>" for the
 * others. LANE_INPUT for another label. */
int label_for(char label[static OBJECT_LABEL_MAX], const char *scheme, struct fault *f) __attribute__((warn_unused_result));
/* Is it the label of a release key made for this scheme? */
bool label_is_release(const char *label, const char *scheme);

#endif
