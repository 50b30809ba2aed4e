/* Signatures that are begun before they are asked for. */
#include "kmsd/token/ahead.h"

#include <string.h>

#include "base/log.h"
#include "kmsd/token/capability.h"

void ahead_allow(struct token *t)
{
    t->ahead.max = token_kind(t)->slow_begin ? (unsigned)t->settings->sign_ahead : 0;
}

static struct ahead_slot *begun_with(struct ahead *a, CK_OBJECT_HANDLE key)
{
    for (unsigned n = 0; n < a->max; n++)
        if (a->slot[n].begun == key)
            return &a->slot[n];
    return NULL;
}

bool ahead_sign(struct token *t, CK_OBJECT_HANDLE key, struct span digest, uint8_t *out, CK_ULONG *len)
{
    struct ahead *a = &t->ahead;
    struct ahead_slot *s = begun_with(a, key);
    CK_ULONG room = *len;
    uint8_t *input;

    if (!a->max)
        return false;
    a->due = true;
    if (!s) {
        a->slot[a->turn++ % a->max].wanted = key;
        return false;
    }
    s->begun = 0;
    memcpy(&input, &digest.data, sizeof input); /* C_Sign takes a pointer to non-const it only reads through */
    if (t->f->C_Sign(s->session, input, digest.len, out, len) == CKR_OK)
        return true;
    *len = room;
    ahead_drop(t);
    return false;
}

bool ahead_due(const struct token *t)
{
    return t->ahead.due;
}

/* A token with few sessions needs them for something else. */
static void give_up(struct token *t, CK_RV rv)
{
    ahead_drop(t);
    t->ahead.max = 0;
    log_line(LOG_LEVEL_WARNING, "sign-ahead", "rv=0x%lx text=\"the token opens no more sessions; no signatures are begun ahead\"", (unsigned long)rv);
}

static void begin(struct token *t, struct ahead_slot *s)
{
    CK_MECHANISM ecdsa = {CKM_ECDSA, NULL, 0};
    CK_RV rv = CKR_OK;

    if (s->begun) { /* with another key: a session has no other way out of it */
        (void)t->f->C_CloseSession(s->session);
        s->session = s->begun = 0;
    }
    if (!s->session)
        rv = t->f->C_OpenSession(t->slot_id, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &s->session);
    if (rv != CKR_OK) {
        s->session = 0;
        give_up(t, rv);
    } else if (t->f->C_SignInit(s->session, &ecdsa, s->wanted) != CKR_OK) {
        ahead_drop(t);
    } else {
        s->begun = s->wanted;
    }
}

void ahead_begin(struct token *t)
{
    struct ahead *a = &t->ahead;

    for (unsigned n = 0; n < a->max; n++)
        if (a->slot[n].wanted != a->slot[n].begun) {
            begin(t, &a->slot[n]);
            return;
        }
    a->due = false;
}

void ahead_drop(struct token *t)
{
    struct ahead *a = &t->ahead;

    for (unsigned n = 0; n < SIGN_AHEAD_MAX; n++)
        if (a->slot[n].session)
            (void)t->f->C_CloseSession(a->slot[n].session);
    *a = (struct ahead){.max = a->max};
}
