/* What the administrative lane shows of a key that it made or removed, in the one form that the log has for it: a record stays, and who verifies the log takes
 * no other. */
#include <string.h>

#include "base/num.h"
#include "kmsd/core/internal.h"

#define BIRTH_MAX 16384
#define PROOF_MAX 4096
#define TEXT_MAX 4096 /* of a path, too */
#define WORD_MAX 256
#define WORDS_MAX 32

/* Attributes of the private key, and what was found out beside them. */
static const char *const SAID[] = {"adds_digest_info", "always_sensitive", "copyable",  "decrypt", "derive", "extractable",  "local",
                                   "modifiable",       "never_extractable", "private", "sensitive", "sign",   "sign_recover", "unwrap"};

static int get_words(struct json_reader *r, const char *name, struct err *e)
{
    const json_t *list;

    if (json_get_array(r, name, WORDS_MAX, &list, e))
        return -1;
    for (size_t n = 0; n < json_array_size(list); n++)
        if (!json_string_length(json_array_get(list, n)))
            return err_set(e, ERR_BAD_REQUEST, "member %s of birth is no list of words", name);
    return 0;
}

static int check_token(const json_t *token, struct err *e)
{
    static const char *const texts[] = {"firmware", "label", "manufacturer", "model", "serial", "module"};
    const char *text = "", *hash;
    struct json_reader r;

    if (json_begin(&r, token, "token", e))
        return -1;
    for (size_t n = 0; n < sizeof texts / sizeof *texts; n++)
        if (json_get_str(&r, texts[n], TEXT_MAX, &text, e))
            return -1;
    if (!*text)
        return err_set(e, ERR_BAD_REQUEST, "member module of token is empty");
    if (json_get_str(&r, "module_sha256", SHA256_HEX - 1, &hash, e) || json_done(&r, e))
        return -1;
    return strspn(hash, "0123456789abcdef") == SHA256_HEX - 1 ? 0 : err_set(e, ERR_BAD_REQUEST, "member module_sha256 of token is no SHA-256");
}

static int check_birth(const json_t *birth, struct err *e)
{
    const char *mechanism, *probe;
    const json_t *token;
    struct json_reader r;
    bool ignored;

    if (json_begin(&r, birth, "birth", e))
        return -1;
    for (size_t n = 0; n < sizeof SAID / sizeof *SAID; n++)
        if (json_opt_bool(&r, SAID[n], false, &ignored, e))
            return -1;
    if (get_words(&r, "allowed_mechanisms", e) || get_words(&r, "not_enforced", e) || json_get_str(&r, "mechanism_generate", WORD_MAX, &mechanism, e) ||
        json_get_str(&r, "probe", WORD_MAX, &probe, e) || json_get_object(&r, "token", &token, e) || json_done(&r, e) || check_token(token, e))
        return -1;
    return *mechanism && !strcmp(probe, "ok") ? 0 : err_set(e, ERR_BAD_REQUEST, "birth names no mechanism, or its probe is not ok");
}

static int check_proof(const json_t *proof, struct err *e)
{
    int64_t left, private, public;
    const char *label, *serial;
    struct json_reader r, token;

    return json_begin(&r, proof, "proof", e) || json_get_int(&r, "left", 0, 0, &left, e) || json_get_int(&r, "private", 0, JSON_INT_MAX, &private, e) ||
                   json_get_int(&r, "public", 0, JSON_INT_MAX, &public, e) || json_get_within(&r, "token", &token, e) || json_done(&r, e) ||
                   json_get_str(&token, "label", WORD_MAX, &label, e) || json_get_str(&token, "serial", WORD_MAX, &serial, e) || json_done(&token, e)
               ? -1
               : 0;
}

static json_t *shown(struct span text, size_t max, int (*check)(const json_t *object, struct err *e), struct err *e)
{
    json_t *object = json_read_object(text.data, text.len, max, e);

    if (object && !check(object, e))
        return object;
    json_decref(object);
    e->code = ERR_INTERNAL; /* of the lane: nobody asked wrongly */
    return NULL;
}

json_t *shown_birth(struct span text, struct err *e)
{
    return shown(text, BIRTH_MAX, check_birth, e);
}

json_t *shown_proof(struct span text, struct err *e)
{
    return shown(text, PROOF_MAX, check_proof, e);
}
