/* The life of a key after its creation: its states, and which change leads from where to where. */
#ifndef KMS_AUDIT_STATE_KEYLIFE_H
#define KMS_AUDIT_STATE_KEYLIFE_H

#include "audit/state/state.h"

const char *key_state_name(enum key_state s);
/* -1 = there is no such state. */
int key_state_parse(const char *name, enum key_state *out) __attribute__((warn_unused_result));
/* The state that the change `event` ("key.suspend" …) brings the key to. ERR_KEY_STATE when the key is not in a state that allows it. */
int key_change(const struct key *k, const char *event, enum key_state *to, struct err *e) __attribute__((warn_unused_result));
/* A key that the token must hold: made, and its destruction has not begun. */
bool key_on_token(const struct key *k);
/* May the key sign, and may what it signed before be handed out again? */
bool key_signs(const struct key *k);

#endif
