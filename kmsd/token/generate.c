/* Key generation: template, read-back, probe. */
#include "kmsd/token/generate.h"

#include <string.h>

#include "base/log.h"

/* What a private key must be. The template sends the rows that can be asked for, the read-back checks all of them. */
struct bool_row {
    CK_ATTRIBUTE_TYPE type;
    const char *name;
    CK_BBOOL value;
    bool asked;       /* part of the template; the others are the token's own statement about how the key came to be */
};
static const struct bool_row private_rows[] = {
    {CKA_TOKEN, NULL, CK_TRUE, true},
    {CKA_PRIVATE, "private", CK_TRUE, true},
    {CKA_SENSITIVE, "sensitive", CK_TRUE, true},
    {CKA_SIGN, "sign", CK_TRUE, true},
    {CKA_EXTRACTABLE, "extractable", CK_FALSE, true},
    {CKA_DECRYPT, "decrypt", CK_FALSE, true},
    {CKA_UNWRAP, "unwrap", CK_FALSE, true},
    {CKA_DERIVE, "derive", CK_FALSE, true},
    {CKA_SIGN_RECOVER, "sign_recover", CK_FALSE, true},
    {CKA_MODIFIABLE, "modifiable", CK_FALSE, true},
    {CKA_COPYABLE, "copyable", CK_FALSE, true},
    {CKA_ALWAYS_SENSITIVE, "always_sensitive", CK_TRUE, false},
    {CKA_NEVER_EXTRACTABLE, "never_extractable", CK_TRUE, false},
    {CKA_LOCAL, "local", CK_TRUE, false},
};
static const struct bool_row public_rows[] = {
    {CKA_TOKEN, NULL, CK_TRUE, true},
    {CKA_VERIFY, NULL, CK_TRUE, true},
    {CKA_ENCRYPT, NULL, CK_FALSE, true},
    {CKA_WRAP, NULL, CK_FALSE, true},
    {CKA_VERIFY_RECOVER, NULL, CK_FALSE, true},
    {CKA_DERIVE, NULL, CK_FALSE, true},
    {CKA_MODIFIABLE, NULL, CK_FALSE, true},
};
#define N_PRIVATE (sizeof private_rows / sizeof *private_rows)
#define N_PUBLIC (sizeof public_rows / sizeof *public_rows)
#define TEMPLATE_EXTRA 4 /* id, label, mechanisms or curve */

struct pair {
    const struct algorithm *algorithm;
    struct span id;
    const char *label;
    CK_OBJECT_HANDLE public, private;
};

/* Cryptoki's attributes point to non-const; a creation template is only read. */
static CK_ATTRIBUTE attribute(CK_ATTRIBUTE_TYPE type, const void *data, size_t len)
{
    CK_ATTRIBUTE a = {type, NULL, len};

    memcpy(&a.pValue, &data, sizeof data);
    return a;
}

static CK_ULONG fill_template(const struct bool_row *rows, size_t n_rows, const struct pair *p, CK_ATTRIBUTE *out)
{
    CK_ULONG n = 0;

    for (size_t k = 0; k < n_rows; k++)
        if (rows[k].asked)
            out[n++] = attribute(rows[k].type, &rows[k].value, sizeof rows[k].value);
    out[n++] = attribute(CKA_ID, p->id.data, p->id.len);
    out[n++] = attribute(CKA_LABEL, p->label, strlen(p->label));
    return n;
}

static int generate_pair(struct token *t, struct pair *p, struct fault *f)
{
    CK_MECHANISM mechanism = {p->algorithm->generate, NULL, 0};
    CK_ATTRIBUTE private[N_PRIVATE + TEMPLATE_EXTRA], public[N_PUBLIC + TEMPLATE_EXTRA];
    CK_ULONG n_private = fill_template(private_rows, N_PRIVATE, p, private), n_public = fill_template(public_rows, N_PUBLIC, p, public);
    CK_RV rv;

    private[n_private++] = attribute(CKA_ALLOWED_MECHANISMS, &p->algorithm->sign, sizeof p->algorithm->sign);
    public[n_public++] = attribute(CKA_EC_PARAMS, p->algorithm->params.data, p->algorithm->params.len);
    rv = t->f->C_GenerateKeyPair(t->session, &mechanism, public, n_public, private, n_private, &p->public, &p->private);
    return rv == CKR_OK ? 0 : fault_rv(f, rv, "C_GenerateKeyPair");
}

static int not_as_asked(CK_ATTRIBUTE_TYPE type, struct fault *f)
{
    log_line(LOG_LEVEL_ERROR, "key-attribute", "type=0x%lx detail=\"not as asked\"", (unsigned long)type);
    return fault_set(f, LANE_BUG, "the token made the key with other attributes than asked");
}

static int check_bools(struct token *t, CK_OBJECT_HANDLE handle, const struct bool_row *rows, size_t n_rows, struct fault *f)
{
    for (size_t n = 0; n < n_rows; n++) {
        CK_BBOOL value = 0xff;
        CK_ATTRIBUTE a = {rows[n].type, &value, sizeof value};
        CK_RV rv = t->f->C_GetAttributeValue(t->session, handle, &a, 1);

        if (rv != CKR_OK)
            return fault_rv(f, rv, "C_GetAttributeValue");
        if (a.ulValueLen != sizeof value || value != rows[n].value)
            return not_as_asked(rows[n].type, f);
    }
    return 0;
}

static int check_bytes(struct token *t, CK_OBJECT_HANDLE handle, CK_ATTRIBUTE_TYPE type, struct span want, struct fault *f)
{
    uint8_t value[256];
    CK_ATTRIBUTE a = {type, value, sizeof value};
    CK_RV rv = t->f->C_GetAttributeValue(t->session, handle, &a, 1);

    if (rv != CKR_OK && rv != CKR_BUFFER_TOO_SMALL)
        return fault_rv(f, rv, "C_GetAttributeValue");
    if (rv != CKR_OK || !span_eq(span_of(value, a.ulValueLen), want))
        return not_as_asked(type, f);
    return 0;
}

static int read_back(struct token *t, const struct pair *p, struct fault *f)
{
    const struct algorithm *a = p->algorithm;
    const struct {
        CK_OBJECT_HANDLE handle;
        CK_ATTRIBUTE_TYPE type;
        struct span want;
    } rows[] = {
        {p->private, CKA_ID, p->id},
        {p->private, CKA_LABEL, span_str(p->label)},
        {p->private, CKA_KEY_TYPE, span_of(&a->type, sizeof a->type)},
        {p->private, CKA_KEY_GEN_MECHANISM, span_of(&a->generate, sizeof a->generate)},
        {p->private, CKA_ALLOWED_MECHANISMS, span_of(&a->sign, sizeof a->sign)},
        {p->public, CKA_ID, p->id},
        {p->public, CKA_LABEL, span_str(p->label)},
        {p->public, CKA_KEY_TYPE, span_of(&a->type, sizeof a->type)},
    };

    if (check_bools(t, p->private, private_rows, N_PRIVATE, f) || check_bools(t, p->public, public_rows, N_PUBLIC, f))
        return -1;
    for (size_t n = 0; n < sizeof rows / sizeof *rows; n++)
        if (check_bytes(t, rows[n].handle, rows[n].type, rows[n].want, f))
            return -1;
    return 0;
}

/* Signing and verifying proves that the two halves belong together; a pair torn by a crash does not sign. */
static int probe(struct token *t, const struct pair *p, struct buf *spki, struct fault *f)
{
    KEY_AUTO k = {0};

    if (key_public(t, p->algorithm, p->id, spki, f) || key_open(t, p->algorithm, p->id, buf_span(spki), &k, f))
        return -1;
    return key_probe(t, &k, f);
}

static int write_birth(const struct token *t, const struct algorithm *a, json_t **out, struct fault *f)
{
    json_t *birth = json_pack("{s:[s], s:s, s:[], s:s, s:O}", "allowed_mechanisms", a->sign_name, "mechanism_generate", a->generate_name,
                              "not_enforced", "probe", "ok", "token", t->description);

    for (size_t n = 0; birth && n < N_PRIVATE; n++)
        if (private_rows[n].name && json_object_set_new(birth, private_rows[n].name, json_boolean(private_rows[n].value))) {
            json_decref(birth);
            birth = NULL;
        }
    *out = birth;
    return birth ? 0 : fault_set(f, LANE_TOKEN, "out of memory");
}

/* Only ever the pair this very call made: nobody has seen its public key. */
static void discard(struct token *t, const struct pair *p)
{
    CK_RV private = t->f->C_DestroyObject(t->session, p->private), public = t->f->C_DestroyObject(t->session, p->public);

    log_line(LOG_LEVEL_ERROR, "key-discarded", "label=%s removed=%s", p->label, private == CKR_OK && public == CKR_OK ? "yes" : "no");
}

int generate_key(struct token *t, const struct algorithm *a, struct span id, const char *label, struct buf *spki, json_t **birth, struct fault *f)
{
    struct pair p = {.algorithm = a, .id = id, .label = label};
    size_t there;

    if (object_count(t, id, &there, f))
        return -1;
    if (there)
        return fault_set(f, LANE_KEY, "%zu objects of the token have that key id already", there);
    if (generate_pair(t, &p, f))
        return -1;
    if (read_back(t, &p, f) || probe(t, &p, spki, f) || token_sync(t, f) || write_birth(t, a, birth, f)) {
        discard(t, &p);
        return -1;
    }
    return 0;
}
