/* Signatures that are begun before they are asked for. */
#include "kmsd/token/ahead.h"

#include <string.h>

#include "base/log.h"
#include "kmsd/token/capability.h"

#define TEND_US INT64_C(1000000)

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

/* A token with few sessions needs them for something else. */
static void stop(struct token *t, const char *call, CK_RV rv)
{
    ahead_drop(t);
    if (!t->ahead.told)
        log_line(LOG_LEVEL_WARNING, "sign-ahead", "call=%s rv=0x%lx text=\"what was begun ahead is dropped%s\"", call, (unsigned long)rv,
                 rv == CKR_SESSION_COUNT ? ", and nothing is begun any more" : "");
    t->ahead.told = true;
    if (rv == CKR_SESSION_COUNT)
        t->ahead.max = 0;
}

bool ahead_sign(struct token *t, CK_OBJECT_HANDLE key, struct span digest, uint8_t *out, CK_ULONG *len)
{
    struct ahead *a = &t->ahead;
    struct ahead_slot *s = begun_with(a, key);
    CK_ULONG room = *len;
    uint8_t *input;
    CK_RV rv;

    if (!a->max)
        return false;
    a->due = true;
    if (!s) {
        a->slot[a->turn++ % a->max].wanted = key;
        return false;
    }
    s->begun = 0;
    memcpy(&input, &digest.data, sizeof input); /* C_Sign takes a pointer to non-const it only reads through */
    rv = t->f->C_Sign(s->session, input, digest.len, out, len);
    if (rv == CKR_OK)
        return true;
    *len = room;
    stop(t, "C_Sign", rv);
    return false;
}

bool ahead_due(const struct token *t)
{
    return t->ahead.due;
}

static void close_session(struct token *t, struct ahead_slot *s)
{
    if (s->session)
        (void)t->f->C_CloseSession(s->session);
    s->session = s->begun = 0;
}

static void begin(struct token *t, struct ahead_slot *s)
{
    CK_MECHANISM ecdsa = {CKM_ECDSA, NULL, 0};
    CK_RV rv;

    if (s->begun)
        close_session(t, s); /* with another key: a session has no other way out of it */
    if (!s->session) {
        rv = t->f->C_OpenSession(t->slot_id, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &s->session);
        if (rv != CKR_OK) {
            s->session = 0;
            stop(t, "C_OpenSession", rv);
            return;
        }
    }
    rv = t->f->C_SignInit(s->session, &ecdsa, s->wanted);
    if (rv != CKR_OK) {
        stop(t, "C_SignInit", rv);
        return;
    }
    s->begun = s->wanted;
    s->fresh = true;
    t->ahead.told = false;
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

void ahead_tend(struct token *t, int64_t boot_us)
{
    struct ahead *a = &t->ahead;

    if (boot_us - a->tended < TEND_US)
        return;
    a->tended = boot_us;
    for (unsigned n = 0; n < a->max; n++) {
        struct ahead_slot *s = &a->slot[n];

        if (s->begun && !s->fresh) {
            close_session(t, s);
            s->wanted = 0;
        }
        s->fresh = false;
    }
}

void ahead_drop(struct token *t)
{
    struct ahead *a = &t->ahead;

    for (unsigned n = 0; n < SIGN_AHEAD_MAX; n++)
        close_session(t, &a->slot[n]);
    *a = (struct ahead){.max = a->max, .told = a->told, .tended = a->tended};
}
