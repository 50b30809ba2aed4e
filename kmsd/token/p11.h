/* The token of this process: module, slot, login, session. One thread uses it. */
#ifndef KMS_TOKEN_P11_H
#define KMS_TOKEN_P11_H

#include <libp11.h>

#include "base/json.h"
#include "base/secret.h"
#include "kmsd/settings.h"
#include "kmsd/token/ahead.h"
#include "kmsd/token/fault.h"

#define TOKEN_LABEL_LEN 32

struct object_index;

struct token {
    const struct token_settings *settings;
    CK_FUNCTION_LIST *f;           /* NULL = module not loaded */
    PKCS11_CTX *ctx;
    PKCS11_SLOT *slots, *slot;
    unsigned n_slots;
    CK_SLOT_ID slot_id;
    CK_SESSION_HANDLE session;     /* 0 = none; operations run in this one, libp11 keeps its own */
    unsigned sessions;             /* counts them, 0 = there was none: objects of another session are gone */
    CK_TOKEN_INFO info;            /* of the token that was chosen at start */
    struct ahead ahead;            /* signatures that are begun and not asked for yet, in sessions of their own */
    unsigned epoch;                /* counts logins: object handles of another epoch are void */
    struct object_index *objects;  /* owned; see object.h */
    json_t *description;           /* what HELLO and birth records say about token and module */
};
#define TOKEN_AUTO __attribute__((cleanup(token_close))) struct token

/* Exports SOFTHSM2_CONF where set, loads the module and initialises it with its own locks. */
int token_module(struct token *t, const struct token_settings *s, struct fault *f) __attribute__((warn_unused_result));
/* find.c: the one slot whose token has the label of the settings (libp11). */
int token_find(struct token *t, struct fault *f) __attribute__((warn_unused_result));
/* The very token that was chosen at start is in its slot and works as far as it says. LANE_TOKEN when not. Never spends a try of the PIN. */
int token_present(struct token *t, struct fault *f) __attribute__((warn_unused_result));
/* As token_present, for when an object of the token was read just now: then a general error says nothing. SoftHSM that looks while another process
 * logs in finds the token's own file cut short and never trusts it again, yet every key goes on working. */
int token_still(struct token *t, struct fault *f) __attribute__((warn_unused_result));
/* token_present, and its flags allow a try of the PIN: LANE_HUMAN when it is locked, is to be changed, or one try is left. */
int token_may_try_pin(struct token *t, struct fault *f) __attribute__((warn_unused_result));
/* login.c: one login with the PIN of the settings, then a session of our own. LANE_HUMAN when refused. */
int token_login(struct token *t, struct fault *f) __attribute__((warn_unused_result));
/* "pin_file.new": there from before the token is told of another PIN until the PIN file has taken its content. -1: the path is too long. */
int token_pin_pending(const struct token_settings *s, char *out, size_t size) __attribute__((warn_unused_result));
/* In a running lane: a fresh session, a login where it is gone, all objects anew; every handle of before is void. */
int token_login_again(struct token *t, struct fault *f) __attribute__((warn_unused_result));
/* token_module, token_find, token_login, all objects: what a lane does at start. Under the lock of the settings. */
int token_open(struct token *t, const struct token_settings *s, struct fault *f) __attribute__((warn_unused_result));
void token_close(struct token *t);

/* A session of our own; t->session is 0 when that fails. */
int token_session(struct token *t, struct fault *f) __attribute__((warn_unused_result));
/* Throws the session with whatever operation hangs in it away and opens another. */
int token_fresh_session(struct token *t, struct fault *f) __attribute__((warn_unused_result));
/* Runs op; after a failure that a fresh session or a new login can heal, heals and runs it again: each remedy at most once. */
int token_retry(struct token *t, int (*op)(struct token *t, void *arg, struct fault *f), void *arg, struct fault *f)
    __attribute__((warn_unused_result));

int token_random(struct token *t, void *out, size_t len, struct fault *f) __attribute__((warn_unused_result));
/* What shows without a key that the token still works: session logged in, the token in its slot, random bytes where it has them, and the first
 * object of the index still readable. A signature shows more: see key_probe. */
int token_probe(struct token *t, struct fault *f) __attribute__((warn_unused_result));
/* syncfs of the directory in the settings, so that a new key survives a power cut. */
int token_sync(const struct token *t, struct fault *f) __attribute__((warn_unused_result));

#endif
