/* What a token said of a key that it had made: a record of a key that may leave its token, or do other things than sign, is none that the service writes. */
#include <string.h>

#include "audit/verify/check.h"

#define WORDS_MAX 256

/* PKCS #11 attributes of the private key. */
static const struct {
    const char *name;
    bool value;
} ATTRIBUTES[] = {{"always_sensitive", true}, {"decrypt", false},  {"derive", false},   {"extractable", false}, {"local", true}, {"never_extractable", true},
                  {"private", true},          {"sensitive", true}, {"sign", true},      {"sign_recover", false}, {"unwrap", false}};
/* Those that some kinds of token are known not to keep to. */
static const char *const LAX[] = {"allowed_mechanisms", "copyable", "decrypt", "extractable", "local", "mechanism_generate", "modifiable"};

static bool in_list(const json_t *list, const char *name)
{
    for (size_t n = 0; n < json_array_size(list); n++)
        if (!strcmp(json_string_value(json_array_get(list, n)), name))
            return true;
    return false;
}

static void check_lax(struct check *c, const struct record *r, const char *key, const json_t *lax)
{
    size_t known = 0;

    for (size_t n = 0; n < sizeof LAX / sizeof *LAX; n++)
        known += in_list(lax, LAX[n]);
    if (known != json_array_size(lax))
        (void)check_fail(c, r, FINDING_INVALID, "%.64s: not_enforced of birth names what every token keeps to", key);
}

static bool says(const json_t *birth, const char *name, bool value)
{
    const json_t *v = json_object_get(birth, name);

    return value ? json_is_true(v) : json_is_false(v);
}

static void check_attributes(struct check *c, const struct record *r, const char *key, const json_t *birth)
{
    const json_t *lax = json_object_get(birth, "not_enforced");
    BUF_AUTO not_kept = BUF_INIT(WORDS_MAX);

    for (size_t n = 0; n < sizeof ATTRIBUTES / sizeof *ATTRIBUTES; n++) {
        const char *name = ATTRIBUTES[n].name;

        if (says(birth, name, ATTRIBUTES[n].value))
            continue;
        if (in_list(lax, name))
            buf_printf(&not_kept, "%s%s", not_kept.len ? ", " : "", name);
        else
            (void)check_fail(c, r, FINDING_INVALID, "%.64s: birth says that %s is not %s", key, name, ATTRIBUTES[n].value ? "true" : "false");
    }
    if (not_kept.len)
        report_note(c->report, "record %llu: the token of key %.64s does not keep to: %s", (unsigned long long)r->seq, key, buf_str(&not_kept));
}

/* Sessions copy a key that is both, which only some kinds are made to be; nothing makes it one of the two. */
static bool copies(const json_t *birth, bool may)
{
    const json_t *lax = json_object_get(birth, "not_enforced");
    bool modifiable = says(birth, "modifiable", true), copyable = says(birth, "copyable", true);

    return (modifiable == copyable && (may || !copyable)) || in_list(lax, "copyable") || in_list(lax, "modifiable");
}

void birth_check(struct check *c, const struct record *r, const char *key, const json_t *birth, const char *mechanism, bool may_copy)
{
    const json_t *mechanisms = json_object_get(birth, "allowed_mechanisms");

    check_lax(c, r, key, json_object_get(birth, "not_enforced"));
    check_attributes(c, r, key, birth);
    if (!copies(birth, may_copy))
        (void)check_fail(c, r, FINDING_INVALID, "%.64s: birth says that modifiable or copyable is true, which %s", key,
                         may_copy ? "only both can be" : "no key of this kind is made to be");
    if (json_array_size(mechanisms) != 1 || !in_list(mechanisms, mechanism))
        (void)check_fail(c, r, FINDING_INVALID, "%.64s: allowed_mechanisms of birth is not %s", key, mechanism);
    if (json_is_true(json_object_get(birth, "adds_digest_info")))
        (void)check_fail(c, r, FINDING_INVALID, "%.64s: adds_digest_info of birth is true", key);
}
