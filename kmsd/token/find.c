/* Which token is ours, and whether it still is there. */
#include <string.h>

#include "base/log.h"
#include "kmsd/token/uri.h"

/* The slots whose token fits, the last of them in t->slot. */
static int count_hits(struct token *t, const struct token_uri *uri, struct fault *f)
{
    int hits = 0;

    for (unsigned n = 0; n < t->n_slots; n++) {
        const PKCS11_TOKEN *tok = t->slots[n].token;
        bool fits;

        if (!tok || !tok->initialized)
            continue;
        if (uri) {
            int verdict = token_uri_fits(t, uri, PKCS11_get_slotid_from_slot(&t->slots[n]), f);

            if (verdict < 0)
                return -1;
            fits = verdict;
        } else {
            fits = tok->label && !strcmp(tok->label, t->settings->label);
        }
        if (fits) {
            t->slot = &t->slots[n];
            hits++;
        }
    }
    return hits;
}

static int choose(struct token *t, struct fault *f)
{
    struct token_uri *uri = NULL;
    int hits;

    if (*t->settings->uri && !(uri = token_uri_parse(t->settings, f)))
        return -1;
    hits = count_hits(t, uri, f);
    token_uri_free(uri);
    if (hits < 0 || hits == 1)
        return hits < 0 ? -1 : 0;
    return fault_set(f, LANE_TOKEN, "%d tokens fit %.150s, exactly one must; check tokens in kmsd.yaml", hits, settings_token_name(t->settings));
}

/* libp11 enumerates nothing but slots here: its key enumeration fails as a whole on one Ed25519 key. */
int token_find(struct token *t, struct fault *f)
{
    CK_RV rv;

    t->ctx = PKCS11_CTX_new();
    if (!t->ctx || PKCS11_CTX_load(t->ctx, t->settings->module) || PKCS11_enumerate_slots(t->ctx, &t->slots, &t->n_slots))
        return fault_set(f, LANE_TOKEN, "the slots of the PKCS#11 module cannot be listed");
    if (choose(t, f))
        return -1;
    t->slot_id = PKCS11_get_slotid_from_slot(t->slot);
    rv = t->f->C_GetTokenInfo(t->slot_id, &t->info);
    return rv == CKR_OK ? 0 : fault_rv(f, rv, "C_GetTokenInfo");
}

static bool same_token(const CK_TOKEN_INFO *a, const CK_TOKEN_INFO *b)
{
    return !memcmp(a->label, b->label, sizeof a->label) && !memcmp(a->serialNumber, b->serialNumber, sizeof a->serialNumber) &&
           !memcmp(a->manufacturerID, b->manufacturerID, sizeof a->manufacturerID) && !memcmp(a->model, b->model, sizeof a->model);
}

/* Whatever the module answers, a token that does not say what it is cannot be counted on. */
static int judge(const struct token *t, CK_RV rv, const CK_TOKEN_INFO *now, struct fault *f)
{
    if (rv != CKR_OK) {
        fault_rv(f, rv, "C_GetTokenInfo");
        return fault_set(f, LANE_TOKEN, "token %s is not there", t->settings->label);
    }
    if (!(now->flags & CKF_TOKEN_INITIALIZED) || !same_token(now, &t->info))
        return fault_set(f, LANE_TOKEN, "another token is in the place of %s", settings_token_name(t->settings));
    return 0;
}

static int look(const struct token *t, CK_TOKEN_INFO *now, struct fault *f)
{
    CK_RV rv = t->f->C_GetTokenInfo(t->slot_id, now);

    return judge(t, rv, now, f);
}

int token_present(struct token *t, struct fault *f)
{
    CK_TOKEN_INFO now;

    return look(t, &now, f);
}

int token_still(struct token *t, struct fault *f)
{
    CK_TOKEN_INFO now;
    CK_RV rv = t->f->C_GetTokenInfo(t->slot_id, &now);

    return rv == CKR_GENERAL_ERROR || rv == CKR_FUNCTION_FAILED ? 0 : judge(t, rv, &now, f);
}

/* What the flags of a token say against a try of its PIN, and the way out. */
static const struct {
    CK_FLAGS flag;
    const char *state, *cure;
} pin_flags[] = {
    {CKF_USER_PIN_LOCKED, "is locked", "have the security officer reset it, write it to"},
    {CKF_USER_PIN_FINAL_TRY, "has one try left, which is not spent unasked", "log in by hand with what is in"},
    {CKF_USER_PIN_TO_BE_CHANGED, "must be changed before it is used", "change it by hand, write it to"},
};

int token_may_try_pin(struct token *t, struct fault *f)
{
    const struct token_settings *s = t->settings;
    CK_TOKEN_INFO now;

    if (look(t, &now, f))
        return -1;
    for (size_t n = 0; n < sizeof pin_flags / sizeof *pin_flags; n++)
        if (now.flags & pin_flags[n].flag) {
            log_line(LOG_LEVEL_ERROR, "token-flags", "label=%s flags=0x%lx", settings_token_name(s), (unsigned long)now.flags);
            return fault_set(f, LANE_HUMAN, "the PIN of token %s %s; %s %s, then run kmsd unseal", settings_token_name(s), pin_flags[n].state,
                             pin_flags[n].cure, settings_pin_place(s));
        }
    return 0;
}
