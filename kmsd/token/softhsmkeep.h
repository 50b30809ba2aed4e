/* A second copy of SoftHSM's token file, for SoftHSM empties and rewrites the only one at every login. */
#ifndef KMS_TOKEN_SOFTHSMKEEP_H
#define KMS_TOKEN_SOFTHSMKEEP_H

#include "kmsd/settings.h"

/* Before the module starts, under the lock: puts a token.object that a login left empty or cut back as it was, keeps a copy of a sound one in "keep" beside
 * the token directory. Only for tokens with softhsm_conf and sync; what goes wrong is logged, for the module says the rest. */
void softhsm_keep(const struct token_settings *s);
/* After a login: the file that was just written again reaches the disk. */
void softhsm_sync(const struct token_settings *s);

#endif
