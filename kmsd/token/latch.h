/* The latch: as long as its file is there, no PIN is tried. */
#ifndef KMS_TOKEN_LATCH_H
#define KMS_TOKEN_LATCH_H

#include "kmsd/settings.h"
#include "kmsd/token/fault.h"

/* LANE_HUMAN when the latch is set. Asked under the lock of the tokens, before a login. */
int latch_check(const struct settings *s, struct fault *f) __attribute__((warn_unused_result));
/* Sets it, with what the operator should know. Best done before the lock is let go. */
void latch_set(const struct settings *s, const char *reason);
/* After work that may have tried a PIN (bad: it failed): remembers a refusal, while the lock of the tokens is held. Returns bad. */
int latch_after(const struct settings *s, int bad, const struct fault *f) __attribute__((warn_unused_result));

#endif
