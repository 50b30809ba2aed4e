/* A failure inside a token process: how the core must treat it, what to say, and whether trying again after a repair can help. */
#ifndef KMS_TOKEN_FAULT_H
#define KMS_TOKEN_FAULT_H

#include <p11-kit/pkcs11.h>

#include "base/err.h"
#include "base/frame.h"

#define FAULT_REASON_MAX 400

/* What may cure the failure inside this process, once. */
enum fault_heal { HEAL_NONE, HEAL_SESSION, HEAL_LOGIN };

struct fault {
    enum lane_error class;
    enum fault_heal heal;
    bool untried;                  /* LANE_HUMAN, but no PIN was tried: a file of this instance must be mended */
    char reason[FAULT_REASON_MAX]; /* never holds a CK_RV: those go to stderr only */
};

/* Fills f and returns -1. */
int fault_set(struct fault *f, enum lane_error class, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Takes the text of an err; returns -1. */
int fault_err(struct fault *f, enum lane_error class, const struct err *e);
/* Class and cure of a return value, nothing else. */
void fault_class(struct fault *f, CK_RV rv);
/* Classifies what `call` returned, writes call and value to the operational log; returns -1. */
int fault_rv(struct fault *f, CK_RV rv, const char *call);
/* As fault_rv, for a call that leaves an operation open when it fails: where the call itself was right, a fresh session may cure it. */
int fault_rv_open(struct fault *f, CK_RV rv, const char *call);
/* Puts "context: " before the reason; returns -1. */
int fault_context(struct fault *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
