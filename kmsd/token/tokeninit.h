/* Initialising a fresh token with a random PIN. */
#ifndef KMS_TOKEN_TOKENINIT_H
#define KMS_TOKEN_TOKENINIT_H

#include "kmsd/token/p11.h"

/* Makes the directories and the SoftHSM configuration where the settings ask for one, then checks that neither PIN file
 * nor token of that label exist. */
int token_prepare(const struct token_settings *s, struct fault *f) __attribute__((warn_unused_result));
/* Initialises the first token without one: label, random PIN into the PIN file (0600), random security officer PIN that nobody learns. */
int token_init(const struct token_settings *s, struct fault *f) __attribute__((warn_unused_result));
/* mkdir -p of the directory that a path is in (or, dir = true, of the path itself), mode 0700. */
int dirs_make(const char *path, bool dir, struct fault *f) __attribute__((warn_unused_result));

#define PIN_LEN 32
/* A new file (0600) with a PIN, synced; not its directory. */
int pin_write(const char *path, const struct secret *pin, struct fault *f) __attribute__((warn_unused_result));

#endif
