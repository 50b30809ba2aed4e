/* Signatures begun ahead. C_SignInit, in which SoftHSM reads and decodes the key, is most of what a signature costs there, and it does not depend on what is
 * signed. So a lane with nothing to do begins signatures with the keys it used last, each in a session of its own, and C_Sign ends one when it is asked for.
 *
 * What was begun outlives the key on the token, as a session copy does: key_still is asked before anything made with it leaves. It is dropped by whatever is
 * asked of a lane but a signature, such as the probe after a second without work, and where it is not used for a second or two. */
#ifndef KMS_TOKEN_AHEAD_H
#define KMS_TOKEN_AHEAD_H

#include "kmsd/settings.h"
#include "kmsd/token/fault.h"

struct token;

struct ahead {
    unsigned max;                     /* signatures that are begun at once; 0 = none */
    unsigned turn;                    /* slot of the next signature that nothing was begun for */
    bool due;                         /* some slot may lack what is wanted of it */
    bool told;                        /* a failure is in the operational log, and nothing was begun since */
    int64_t tended;                   /* when ahead_tend looked last; as its boot_us */
    struct ahead_slot {
        CK_SESSION_HANDLE session;    /* 0 = none yet */
        CK_OBJECT_HANDLE begun;       /* the key a signature was begun with; 0 = none */
        CK_OBJECT_HANDLE wanted;      /* the key of a signature that found nothing; 0 = none */
        bool fresh;                   /* begun since ahead_tend looked */
    } slot[SIGN_AHEAD_MAX];
};

/* As many as the settings say, where this kind of token gains by it. */
void ahead_allow(struct token *t);
/* Ends a signature (CKM_ECDSA) that was begun with this key: true, its bytes in `out`, their number in `len`. false: none was, which is remembered, or it could not
 * be ended, and all that was begun is dropped. */
bool ahead_sign(struct token *t, CK_OBJECT_HANDLE key, struct span digest, uint8_t *out, CK_ULONG *len);
/* Is there something to begin? */
bool ahead_due(const struct token *t);
/* Begins one signature. What fails is logged and dropped; the signature that is asked for next is begun anew. */
void ahead_begin(struct token *t);
/* Drops what was begun and not used since the second last look; looks once a second. boot_us: CLOCK_BOOTTIME. */
void ahead_tend(struct token *t, int64_t boot_us);
/* Ends all that was begun, and its sessions. */
void ahead_drop(struct token *t);

#endif
