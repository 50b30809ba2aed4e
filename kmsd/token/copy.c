/* Session copies of private keys: the token computes with what the session holds, and its own object is asked for once a batch instead of for each
 * signature. */
#include "base/log.h"
#include "kmsd/token/key.h"

/* What a copy must have taken over; that it is the session's alone. */
static const struct {
    CK_ATTRIBUTE_TYPE type;
    CK_BBOOL value;
} rows[] = {
    {CKA_TOKEN, CK_FALSE}, {CKA_PRIVATE, CK_TRUE}, {CKA_SENSITIVE, CK_TRUE}, {CKA_EXTRACTABLE, CK_FALSE}, {CKA_SIGN, CK_TRUE},
    {CKA_DECRYPT, CK_FALSE}, {CKA_UNWRAP, CK_FALSE}, {CKA_DERIVE, CK_FALSE},
};

static CK_RV read_bool(struct token *t, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type, CK_BBOOL *value)
{
    CK_ATTRIBUTE a = {type, value, sizeof *value};

    *value = 0xff;
    return t->f->C_GetAttributeValue(t->session, object, &a, 1);
}

bool key_copyable(struct token *t, const struct key *k)
{
    CK_BBOOL says;

    return t->settings->session_copies == SETTINGS_ON && k->method->algorithm->copies && read_bool(t, k->handle, CKA_COPYABLE, &says) == CKR_OK && says == CK_TRUE;
}

static bool has_rows(struct token *t, CK_OBJECT_HANDLE copy)
{
    CK_BBOOL value;

    for (size_t n = 0; n < sizeof rows / sizeof *rows; n++)
        if (read_bool(t, copy, rows[n].type, &value) != CKR_OK || value != rows[n].value)
            return false;
    return true;
}

/* A key that cannot be copied as it should be is used where it is. */
static void copy(struct token *t, struct key *k)
{
    CK_BBOOL no = CK_FALSE;
    CK_ATTRIBUTE template = {CKA_TOKEN, &no, sizeof no};
    CK_OBJECT_HANDLE made;
    CK_RV rv = t->f->C_CopyObject(t->session, k->handle, &template, 1, &made);

    k->copyable = rv == CKR_OK && has_rows(t, made);
    if (k->copyable) {
        k->copy = made;
        k->copied = t->sessions;
        return;
    }
    if (rv == CKR_OK)
        (void)t->f->C_DestroyObject(t->session, made);
    log_line(LOG_LEVEL_WARNING, "key-copy", "rv=0x%lx text=\"the token makes no usable copy of a key; it is used where it is\"", (unsigned long)rv);
}

static bool has_copy(const struct token *t, const struct key *k)
{
    return k->copyable && k->copied == t->sessions;
}

CK_OBJECT_HANDLE key_quick_handle(struct token *t, struct key *k)
{
    if (k->copyable && !has_copy(t, k))
        copy(t, k);
    k->loose |= k->copyable;
    return k->copyable ? k->copy : k->handle;
}

int key_uncopy(struct token *t, struct key *k, struct fault *f)
{
    CK_RV rv = has_copy(t, k) ? t->f->C_DestroyObject(t->session, k->copy) : CKR_OK;

    k->copyable = false;
    return rv == CKR_OK ? 0 : fault_rv(f, rv, "C_DestroyObject");
}

/* What the copy must not outlive: the key, and its right to sign, which can be taken from one that can be copied. */
static int look(struct token *t, void *arg, struct fault *f)
{
    struct key *k = arg;
    CK_BBOOL signs;
    CK_RV rv;

    if (key_resolve(t, k, f))
        return -1;
    rv = read_bool(t, k->handle, CKA_SIGN, &signs);
    if (rv == CKR_OK && signs != CK_TRUE)
        rv = CKR_KEY_FUNCTION_NOT_PERMITTED; /* as the key itself would answer */
    return rv == CKR_OK ? 0 : fault_rv(f, rv, "C_GetAttributeValue");
}

int key_still(struct token *t, struct key *k, struct fault *f)
{
    if (k->loose && token_retry(t, look, k, f))
        return -1;
    k->loose = false;
    return 0;
}
