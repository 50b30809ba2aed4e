/* Which token a PKCS#11 URI means. */
#include "kmsd/token/uri.h"

#include <stdlib.h>
#include <string.h>

#include <p11-kit/uri.h>

struct token_uri {
    P11KitUri *p11;
};

static const char *judge_module(const struct token_settings *s, P11KitUri *u)
{
    const char *path = p11_kit_uri_get_module_path(u);
    char have[PATH_MAX], want[PATH_MAX];

    if (p11_kit_uri_get_module_name(u))
        return "has module-name; write the module's path to module instead";
    if (path && (!realpath(path, have) || !realpath(s->module, want) || strcmp(have, want)))
        return "has a module-path that is not the module";
    return NULL;
}

/* NULL = usable, else what is wrong with it. */
static const char *judge(const struct token_settings *s, P11KitUri *u)
{
    const CK_TOKEN_INFO *info = p11_kit_uri_get_token_info(u);
    CK_ULONG n_attributes = 0;

    if (p11_kit_uri_any_unrecognized(u))
        return "has an attribute that is not known";
    (void)p11_kit_uri_get_attributes(u, &n_attributes);
    if (n_attributes)
        return "must name a token, not an object";
    if (p11_kit_uri_get_pin_value(u) || p11_kit_uri_get_pin_source(u))
        return "must not hold a PIN or its place; use pin_file or pin_credential";
    if (!info->label[0] && !info->serialNumber[0] && p11_kit_uri_get_slot_id(u) == (CK_SLOT_ID)-1)
        return "must have token, serial or slot-id";
    return judge_module(s, u);
}

struct token_uri *token_uri_parse(const struct token_settings *s, struct fault *f)
{
    struct token_uri *u = calloc(1, sizeof *u);
    const char *wrong;
    int bad;

    if (!u || !(u->p11 = p11_kit_uri_new())) {
        free(u);
        fault_set(f, LANE_TOKEN, "out of memory");
        return NULL;
    }
    bad = p11_kit_uri_parse(s->uri, P11_KIT_URI_FOR_ANY, u->p11);
    wrong = bad == P11_KIT_URI_OK ? judge(s, u->p11) : "is no PKCS#11 URI (RFC 7512)";
    if (!wrong)
        return u;
    token_uri_free(u);
    fault_set(f, LANE_HUMAN, "%s: the uri of the token %s", s->uri_at, wrong);
    f->untried = true;
    return NULL;
}

void token_uri_free(struct token_uri *u)
{
    if (!u)
        return;
    p11_kit_uri_free(u->p11);
    free(u);
}

int token_uri_fits(const struct token *t, const struct token_uri *u, CK_SLOT_ID slot, struct fault *f)
{
    CK_SLOT_ID want = p11_kit_uri_get_slot_id(u->p11);
    CK_INFO module;
    CK_SLOT_INFO in;
    CK_TOKEN_INFO token;
    CK_RV rv = t->f->C_GetInfo(&module);

    if (rv != CKR_OK)
        return fault_rv(f, rv, "C_GetInfo");
    if ((want != (CK_SLOT_ID)-1 && want != slot) || t->f->C_GetSlotInfo(slot, &in) != CKR_OK || t->f->C_GetTokenInfo(slot, &token) != CKR_OK)
        return 0;
    return p11_kit_uri_match_module_info(u->p11, &module) && p11_kit_uri_match_slot_info(u->p11, &in) && p11_kit_uri_match_token_info(u->p11, &token);
}
