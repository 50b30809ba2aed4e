/* The table of token kinds: measured, not read. */
#include "kmsd/token/capability.h"

#include <string.h>

/* SoftHSM takes the whole template and keeps to all of it; it decodes a key anew for each signature. tpm2-pkcs11 wants no word about decryption (its own key
 * attributes then say that it can, but the one allowed mechanism is enforced) and reports MODIFIABLE and COPYABLE as true whatever was asked; PKCS#1
 * signatures it makes only with keys that may also be used raw, and after such a refusal it cannot remove the key any more. NSS softokn does not know COPYABLE
 * and ALLOWED_MECHANISMS, copies a key that is not extractable as one that is, and keeps no record of how a key was made. opencryptoki does not know
 * COPYABLE, ALLOWED_MECHANISMS and KEY_GEN_MECHANISM. A token of no known kind may lack what younger versions of the standard brought. */
static const struct token_kind kinds[] = {
    {TOKEN_TYPE_SOFTHSM, "softhsm", "SoftHSM", 1, {0}, 0, true, false},
    {TOKEN_TYPE_TPM2, "tpm2", "tpm2-software", 2, {0, ATTR_DECRYPT}, ATTR_COPYABLE | ATTR_DECRYPT | ATTR_MODIFIABLE, false, true},
    {TOKEN_TYPE_NSS, "nss", "Mozilla Foundation", 2, {0, ATTR_ALLOWED_MECHANISMS | ATTR_COPYABLE},
     ATTR_ALLOWED_MECHANISMS | ATTR_COPYABLE | ATTR_EXTRACTABLE | ATTR_LOCAL | ATTR_MECHANISM_GENERATE, false, false},
    {TOKEN_TYPE_OPENCRYPTOKI, "opencryptoki", "IBM", 2, {0, ATTR_ALLOWED_MECHANISMS | ATTR_COPYABLE},
     ATTR_ALLOWED_MECHANISMS | ATTR_COPYABLE | ATTR_MECHANISM_GENERATE, false, false},
    {TOKEN_TYPE_GENERIC, "generic", "", 4,
     {0, ATTR_COPYABLE, ATTR_COPYABLE | ATTR_ALLOWED_MECHANISMS, ATTR_COPYABLE | ATTR_ALLOWED_MECHANISMS | ATTR_DECRYPT},
     ATTR_ALLOWED_MECHANISMS | ATTR_COPYABLE, false, false},
};
#define N_KINDS (sizeof kinds / sizeof *kinds)

/* In the order of their bits, which is that of their names. */
static const char *const names[] = {"allowed_mechanisms", "copyable", "decrypt", "extractable", "local", "mechanism_generate", "modifiable"};

static bool is_kind(const struct token_kind *k, uint64_t type, const CK_INFO *info)
{
    if (type != TOKEN_TYPE_AUTO)
        return k->type == type;
    return !strncmp((const char *)info->manufacturerID, k->maker, strlen(k->maker));
}

const struct token_kind *token_kind(const struct token *t)
{
    CK_INFO info = {0};

    if (t->settings->type == TOKEN_TYPE_AUTO && t->f->C_GetInfo(&info) != CKR_OK)
        info = (CK_INFO){0};
    for (size_t n = 0; n < N_KINDS - 1; n++)
        if (is_kind(&kinds[n], t->settings->type, &info))
            return &kinds[n];
    return &kinds[N_KINDS - 1];
}

json_t *attribute_names(unsigned set)
{
    json_t *list = json_array();

    for (size_t n = 0; list && n < sizeof names / sizeof *names; n++)
        if (set & 1U << n && json_array_append_new(list, json_string(names[n]))) {
            json_decref(list);
            list = NULL;
        }
    return list;
}

bool template_refused(CK_RV rv)
{
    static const CK_RV refusals[] = {CKR_TEMPLATE_INCONSISTENT, CKR_TEMPLATE_INCOMPLETE,     CKR_ATTRIBUTE_TYPE_INVALID, CKR_ATTRIBUTE_VALUE_INVALID,
                                     CKR_ATTRIBUTE_READ_ONLY,   CKR_ARGUMENTS_BAD,           CKR_GENERAL_ERROR,          CKR_FUNCTION_FAILED};

    for (size_t n = 0; n < sizeof refusals / sizeof *refusals; n++)
        if (rv == refusals[n])
            return true;
    return false;
}
