/* The table that says what a Cryptoki return value means for the lane. */
#include "kmsd/token/fault.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"

struct rv_row {
    CK_RV rv;
    const char *name;
    enum lane_error class;
    enum fault_heal heal;
};

#define R(rv, class, heal) {rv, #rv, class, heal}
static const struct rv_row rv_table[] = {
    R(CKR_SESSION_HANDLE_INVALID, LANE_TOKEN, HEAL_SESSION),
    R(CKR_SESSION_CLOSED, LANE_TOKEN, HEAL_SESSION),
    R(CKR_OPERATION_ACTIVE, LANE_TOKEN, HEAL_SESSION),
    R(CKR_OPERATION_NOT_INITIALIZED, LANE_TOKEN, HEAL_SESSION),
    R(CKR_USER_NOT_LOGGED_IN, LANE_TOKEN, HEAL_LOGIN),
    R(CKR_OBJECT_HANDLE_INVALID, LANE_TOKEN, HEAL_LOGIN),
    R(CKR_KEY_HANDLE_INVALID, LANE_TOKEN, HEAL_LOGIN),
    R(CKR_SESSION_COUNT, LANE_TOKEN, HEAL_NONE),
    R(CKR_SLOT_ID_INVALID, LANE_TOKEN, HEAL_NONE),
    R(CKR_DEVICE_ERROR, LANE_TOKEN, HEAL_NONE),
    R(CKR_DEVICE_MEMORY, LANE_TOKEN, HEAL_NONE),
    R(CKR_DEVICE_REMOVED, LANE_TOKEN, HEAL_NONE),
    R(CKR_TOKEN_NOT_PRESENT, LANE_TOKEN, HEAL_NONE),
    R(CKR_TOKEN_NOT_RECOGNIZED, LANE_TOKEN, HEAL_NONE),
    R(CKR_CRYPTOKI_NOT_INITIALIZED, LANE_TOKEN, HEAL_NONE),
    R(CKR_GENERAL_ERROR, LANE_TOKEN, HEAL_NONE),
    R(CKR_FUNCTION_FAILED, LANE_TOKEN, HEAL_NONE),
    R(CKR_HOST_MEMORY, LANE_TOKEN, HEAL_NONE),
    R(CKR_PIN_INCORRECT, LANE_HUMAN, HEAL_NONE),
    R(CKR_PIN_INVALID, LANE_HUMAN, HEAL_NONE),
    R(CKR_PIN_LEN_RANGE, LANE_HUMAN, HEAL_NONE),
    R(CKR_USER_PIN_NOT_INITIALIZED, LANE_HUMAN, HEAL_NONE),
    R(CKR_PIN_EXPIRED, LANE_HUMAN, HEAL_NONE),
    R(CKR_PIN_LOCKED, LANE_HUMAN, HEAL_NONE),
    R(CKR_ARGUMENTS_BAD, LANE_BUG, HEAL_NONE),
    R(CKR_DATA_INVALID, LANE_BUG, HEAL_NONE),
    R(CKR_DATA_LEN_RANGE, LANE_BUG, HEAL_NONE),
    R(CKR_KEY_TYPE_INCONSISTENT, LANE_BUG, HEAL_NONE),
    R(CKR_KEY_FUNCTION_NOT_PERMITTED, LANE_BUG, HEAL_NONE),
    R(CKR_MECHANISM_INVALID, LANE_BUG, HEAL_NONE),
    R(CKR_MECHANISM_PARAM_INVALID, LANE_BUG, HEAL_NONE),
    R(CKR_KEY_UNEXTRACTABLE, LANE_BUG, HEAL_NONE),
    R(CKR_ATTRIBUTE_READ_ONLY, LANE_BUG, HEAL_NONE),
    R(CKR_ATTRIBUTE_SENSITIVE, LANE_BUG, HEAL_NONE),
    R(CKR_ATTRIBUTE_TYPE_INVALID, LANE_BUG, HEAL_NONE),
    R(CKR_ATTRIBUTE_VALUE_INVALID, LANE_BUG, HEAL_NONE),
};
#undef R
/* What the standard does not give to the other classes is a call this program should not have made. */
static const struct rv_row rv_other = {0, "other", LANE_BUG, HEAL_NONE};

static const char *const class_text[] = {
    [LANE_TOKEN] = "the token or its module does not work",
    [LANE_HUMAN] = "the token refuses the PIN",
    [LANE_BUG] = "the token refuses the operation",
};

int fault_set(struct fault *f, enum lane_error class, const char *fmt, ...)
{
    va_list ap;

    f->class = class;
    f->heal = HEAL_NONE;
    f->untried = false;
    va_start(ap, fmt);
    (void)vsnprintf(f->reason, sizeof f->reason, fmt, ap);
    va_end(ap);
    return -1;
}

int fault_err(struct fault *f, enum lane_error class, const struct err *e)
{
    return fault_set(f, class, "%.300s", e->detail);
}

static const struct rv_row *rv_find(CK_RV rv)
{
    for (size_t n = 0; n < sizeof rv_table / sizeof *rv_table; n++)
        if (rv_table[n].rv == rv)
            return &rv_table[n];
    return &rv_other;
}

void fault_class(struct fault *f, CK_RV rv)
{
    f->class = rv_find(rv)->class;
    f->heal = rv_find(rv)->heal;
}

int fault_rv(struct fault *f, CK_RV rv, const char *call)
{
    const struct rv_row *row = rv_find(rv);

    log_line(LOG_LEVEL_ERROR, "token-call", "call=%s rv=0x%lx name=%s", call, (unsigned long)rv, row->name);
    fault_set(f, row->class, "%s", class_text[row->class]);
    f->heal = row->heal;
    return -1;
}

int fault_rv_open(struct fault *f, CK_RV rv, const char *call)
{
    fault_rv(f, rv, call);
    if (f->heal == HEAL_NONE && (f->class == LANE_TOKEN || rv_find(rv) == &rv_other))
        f->heal = HEAL_SESSION;
    return -1;
}

int fault_context(struct fault *f, const char *fmt, ...)
{
    char context[160], old[FAULT_REASON_MAX];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(context, sizeof context, fmt, ap);
    va_end(ap);
    memcpy(old, f->reason, sizeof old);
    (void)snprintf(f->reason, sizeof f->reason, "%s: %.230s", context, old);
    return -1;
}
