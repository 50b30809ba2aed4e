/* What kinds of token enforce, and which templates they take for a new key pair. */
#ifndef KMS_TOKEN_CAPABILITY_H
#define KMS_TOKEN_CAPABILITY_H

#include "kmsd/token/p11.h"

/* Attributes that some kind of token does not take or does not enforce. Those of a pair that mean the same for its halves share a bit
 * (decrypt with encrypt, unwrap with wrap, sign_recover with verify_recover). */
enum {
    ATTR_ALLOWED_MECHANISMS = 1,
    ATTR_COPYABLE = 2,
    ATTR_DECRYPT = 4,
    ATTR_EXTRACTABLE = 8,
    ATTR_LOCAL = 16,
    ATTR_MECHANISM_GENERATE = 32,
    ATTR_MODIFIABLE = 64,
};
#define TEMPLATE_STEPS_MAX 4

struct token_kind {
    enum token_type type;
    const char *name;
    const char *maker;                     /* how CK_INFO's manufacturer begins */
    unsigned n_steps;
    unsigned without[TEMPLATE_STEPS_MAX];  /* attributes left out of the template, from the full one on: the next is for when one is refused */
    unsigned not_enforced;                 /* declared: goes into the birth record; what reads back wrong beyond it is refused */
    bool slow_begin;                       /* C_SignInit takes longer than C_Sign */
    bool pkcs1_needs_raw;                  /* makes PKCS#1 signatures only with keys that allow CKM_RSA_X_509 too, which none here does */
};

/* As the settings say, or as the module describes itself. */
const struct token_kind *token_kind(const struct token *t);
/* Sorted names of the attributes in the set. NULL = out of memory. */
json_t *attribute_names(unsigned set);
/* Whether a token that refuses a template returns this. */
bool template_refused(CK_RV rv);

#endif
