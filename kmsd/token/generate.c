/* Key generation: template, read-back, probe. */
#include "kmsd/token/generate.h"

#include <string.h>

#include "base/log.h"
#include "kmsd/token/capability.h"

/* What a private key must be. The template sends the rows that can be asked for, the read-back checks all of them. */
struct bool_row {
    CK_ATTRIBUTE_TYPE type;
    const char *name;
    CK_BBOOL value;
    bool asked;       /* part of the template; the others are the token's own statement about how the key came to be */
    unsigned bit;     /* ATTR_…, 0 = every kind of token takes and enforces it */
};
static const struct bool_row private_rows[] = {
    {CKA_TOKEN, NULL, CK_TRUE, true, 0},
    {CKA_PRIVATE, "private", CK_TRUE, true, 0},
    {CKA_SENSITIVE, "sensitive", CK_TRUE, true, 0},
    {CKA_SIGN, "sign", CK_TRUE, true, 0},
    {CKA_EXTRACTABLE, "extractable", CK_FALSE, true, 0},
    {CKA_DECRYPT, "decrypt", CK_FALSE, true, ATTR_DECRYPT},
    {CKA_UNWRAP, "unwrap", CK_FALSE, true, 0},
    {CKA_DERIVE, "derive", CK_FALSE, true, 0},
    {CKA_SIGN_RECOVER, "sign_recover", CK_FALSE, true, 0},
    {CKA_MODIFIABLE, "modifiable", CK_FALSE, true, ATTR_MODIFIABLE},
    {CKA_COPYABLE, "copyable", CK_FALSE, true, ATTR_COPYABLE},
    {CKA_ALWAYS_SENSITIVE, "always_sensitive", CK_TRUE, false, 0},
    {CKA_NEVER_EXTRACTABLE, "never_extractable", CK_TRUE, false, 0},
    {CKA_LOCAL, "local", CK_TRUE, false, ATTR_LOCAL},
};
static const struct bool_row public_rows[] = {
    {CKA_TOKEN, NULL, CK_TRUE, true, 0},
    {CKA_VERIFY, NULL, CK_TRUE, true, 0},
    {CKA_ENCRYPT, NULL, CK_FALSE, true, ATTR_DECRYPT},
    {CKA_WRAP, NULL, CK_FALSE, true, 0},
    {CKA_VERIFY_RECOVER, NULL, CK_FALSE, true, 0},
    {CKA_DERIVE, NULL, CK_FALSE, true, 0},
    {CKA_MODIFIABLE, NULL, CK_FALSE, true, ATTR_MODIFIABLE},
};
#define N_PRIVATE (sizeof private_rows / sizeof *private_rows)
#define N_PUBLIC (sizeof public_rows / sizeof *public_rows)
#define TEMPLATE_EXTRA 4 /* id, label, mechanisms; curve, or modulus and exponent */

struct pair {
    const struct method *method;
    struct span id;
    const char *label;
    const struct token_kind *kind;
    bool copies;                /* sessions may copy it */
    CK_OBJECT_HANDLE public, private;
    CK_BBOOL read[N_PRIVATE];   /* what the token says of the private half */
    bool known[N_PRIVATE];      /* whether it says anything */
    bool adds_digest_info;      /* found out where the scheme's mechanism is CKM_RSA_PKCS */
};

/* Cryptoki's attributes point to non-const; a creation template is only read. */
static CK_ATTRIBUTE attribute(CK_ATTRIBUTE_TYPE type, const void *data, size_t len)
{
    CK_ATTRIBUTE a = {type, NULL, len};

    memcpy(&a.pValue, &data, sizeof data);
    return a;
}

/* For a private key that sessions may copy two rows are the other way round: SoftHSM copies nothing that is not modifiable. */
static const CK_BBOOL *wanted(const struct bool_row *row, const struct pair *p)
{
    static const CK_BBOOL yes = CK_TRUE;

    return p->copies && row->name && row->bit & (ATTR_COPYABLE | ATTR_MODIFIABLE) ? &yes : &row->value;
}

static CK_ULONG fill_template(const struct bool_row *rows, size_t n_rows, unsigned without, const struct pair *p, CK_ATTRIBUTE *out)
{
    CK_ULONG n = 0;

    for (size_t k = 0; k < n_rows; k++)
        if (rows[k].asked && !(rows[k].bit & without))
            out[n++] = attribute(rows[k].type, wanted(&rows[k], p), sizeof rows[k].value);
    out[n++] = attribute(CKA_ID, p->id.data, p->id.len);
    out[n++] = attribute(CKA_LABEL, p->label, strlen(p->label));
    return n;
}

/* What says which key of its type it is. */
static CK_ULONG fill_parameters(const struct algorithm *a, CK_ATTRIBUTE *out)
{
    static const uint8_t exponent[] = {RSA_EXPONENT >> 16, RSA_EXPONENT >> 8 & 0xff, RSA_EXPONENT & 0xff};

    if (a->curve) {
        out[0] = attribute(CKA_EC_PARAMS, a->curve->params.data, a->curve->params.len);
        return 1;
    }
    out[0] = attribute(CKA_MODULUS_BITS, &a->modulus_bits, sizeof a->modulus_bits);
    out[1] = attribute(CKA_PUBLIC_EXPONENT, exponent, sizeof exponent);
    return 2;
}

static CK_RV ask(struct token *t, struct pair *p, unsigned without)
{
    const struct method *m = p->method;
    CK_MECHANISM mechanism = {m->algorithm->generate, NULL, 0};
    CK_ATTRIBUTE private[N_PRIVATE + TEMPLATE_EXTRA], public[N_PUBLIC + TEMPLATE_EXTRA];
    CK_ULONG n_private = fill_template(private_rows, N_PRIVATE, without, p, private), n_public = fill_template(public_rows, N_PUBLIC, without, p, public);

    if (!(without & ATTR_ALLOWED_MECHANISMS))
        private[n_private++] = attribute(CKA_ALLOWED_MECHANISMS, &m->mechanism, sizeof m->mechanism);
    n_public += fill_parameters(m->algorithm, public + n_public);
    return t->f->C_GenerateKeyPair(t->session, &mechanism, public, n_public, private, n_private, &p->public, &p->private);
}

static const char *scheme_name(const struct method *m)
{
    return m->name ? m->name : "of kmsd itself";
}

/* From the full template down the steps of this kind of token. A refusal that left an object behind ends it: nobody would know whose it is. */
static int generate_pair(struct token *t, struct pair *p, struct fault *f)
{
    size_t left = 0;

    for (unsigned step = 0; step < p->kind->n_steps; step++) {
        CK_RV rv = ask(t, p, p->kind->without[step]);

        if (rv == CKR_OK)
            return 0;
        fault_rv(f, rv, "C_GenerateKeyPair");
        if (f->class == LANE_BUG)
            fault_set(f, LANE_UNABLE, "the token refuses to make a key of algorithm %s for scheme %s", p->method->algorithm->name, scheme_name(p->method));
        if (!template_refused(rv) || step + 1 == p->kind->n_steps)
            break;
        if (object_count(t, p->id, &left, f))
            break;
        if (left)
            return fault_set(f, LANE_BUG, "the token refused the key and yet has an object of it");
        log_line(LOG_LEVEL_WARNING, "key-template", "label=%s type=%s step=%u detail=\"refused\"", p->label, p->kind->name, step);
    }
    return -1;
}

static int not_as_asked(CK_ATTRIBUTE_TYPE type, struct fault *f)
{
    log_line(LOG_LEVEL_ERROR, "key-attribute", "type=0x%lx detail=\"not as asked\"", (unsigned long)type);
    return fault_set(f, LANE_BUG, "the token made the key with other attributes than asked");
}

static bool is_unknown(CK_RV rv)
{
    return rv == CKR_ATTRIBUTE_TYPE_INVALID || rv == CKR_BUFFER_TOO_SMALL;
}

static int check_bools(struct token *t, const struct pair *p, CK_OBJECT_HANDLE handle, const struct bool_row *rows, size_t n_rows, CK_BBOOL *read,
                       bool *known, struct fault *f)
{
    for (size_t n = 0; n < n_rows; n++) {
        CK_BBOOL value = 0xff;
        CK_ATTRIBUTE a = {rows[n].type, &value, sizeof value};
        CK_RV rv = t->f->C_GetAttributeValue(t->session, handle, &a, 1);
        bool says = rv == CKR_OK && a.ulValueLen == sizeof value && (value == CK_TRUE || value == CK_FALSE);

        if (rv != CKR_OK && !is_unknown(rv))
            return fault_rv(f, rv, "C_GetAttributeValue");
        if (!(says && value == *wanted(&rows[n], p)) && !(rows[n].bit & p->kind->not_enforced))
            return not_as_asked(rows[n].type, f);
        if (read) {
            read[n] = value;
            known[n] = says;
        }
    }
    return 0;
}

/* Room for exactly what is wanted: NSS gives numbers into room of their own size only. */
static int check_bytes(struct token *t, CK_OBJECT_HANDLE handle, CK_ATTRIBUTE_TYPE type, struct span want, struct fault *f)
{
    uint8_t value[256];
    CK_ATTRIBUTE a = {type, value, want.len};
    CK_RV rv = want.len <= sizeof value ? t->f->C_GetAttributeValue(t->session, handle, &a, 1) : CKR_BUFFER_TOO_SMALL;

    if (rv != CKR_OK && !is_unknown(rv))
        return fault_rv(f, rv, "C_GetAttributeValue");
    if (rv != CKR_OK || a.ulValueLen > want.len || !span_eq(span_of(value, a.ulValueLen), want))
        return not_as_asked(type, f);
    return 0;
}

static int read_back(struct token *t, struct pair *p, struct fault *f)
{
    const struct method *m = p->method;
    const struct algorithm *a = m->algorithm;
    const struct {
        CK_OBJECT_HANDLE handle;
        CK_ATTRIBUTE_TYPE type;
        struct span want;
        unsigned bit;
    } rows[] = {
        {p->private, CKA_ID, p->id, 0},
        {p->private, CKA_LABEL, span_str(p->label), 0},
        {p->private, CKA_KEY_TYPE, span_of(&a->type, sizeof a->type), 0},
        {p->private, CKA_KEY_GEN_MECHANISM, span_of(&a->generate, sizeof a->generate), ATTR_MECHANISM_GENERATE},
        {p->private, CKA_ALLOWED_MECHANISMS, span_of(&m->mechanism, sizeof m->mechanism), ATTR_ALLOWED_MECHANISMS},
        {p->public, CKA_ID, p->id, 0},
        {p->public, CKA_LABEL, span_str(p->label), 0},
        {p->public, CKA_KEY_TYPE, span_of(&a->type, sizeof a->type), 0},
    };

    if (check_bools(t, p, p->private, private_rows, N_PRIVATE, p->read, p->known, f) ||
        check_bools(t, p, p->public, public_rows, N_PUBLIC, NULL, NULL, f))
        return -1;
    for (size_t n = 0; n < sizeof rows / sizeof *rows; n++)
        if (!(rows[n].bit & p->kind->not_enforced) && check_bytes(t, rows[n].handle, rows[n].type, rows[n].want, f))
            return -1;
    return 0;
}

/* Signing and verifying proves that the two halves belong together; a pair torn by a crash does not sign. A token that puts a DigestInfo of its own
 * into the block signs something else than it is given. */
static int probe(struct token *t, struct pair *p, struct buf *spki, struct fault *f)
{
    KEY_AUTO k = {0};

    if (key_public(t, p->method->algorithm, p->id, spki, f) || key_open(t, p->method, p->id, buf_span(spki), &k, f))
        return -1;
    if (p->method->mechanism == CKM_RSA_PKCS && key_adds_digest_info(t, &k, &p->adds_digest_info, f))
        return -1;
    if (p->adds_digest_info)
        return fault_set(f, LANE_UNABLE, "the token puts a DigestInfo of its own before what it signs: no key of scheme %s can be made on it", p->method->name);
    return key_probe(t, &k, f);
}

/* What was asked for and read back; where this kind of token says otherwise, what it says; where it says nothing, nothing. */
static int write_birth(const struct token *t, const struct pair *p, json_t **out, struct fault *f)
{
    const struct method *m = p->method;
    bool block = m->mechanism == CKM_RSA_PKCS;
    json_t *birth = json_pack("{s:o*, s:[s], s:s, s:o*, s:s, s:O}", "adds_digest_info", block ? json_boolean(p->adds_digest_info) : NULL,
                              "allowed_mechanisms", m->mechanism_name, "mechanism_generate", m->algorithm->generate_name, "not_enforced",
                              attribute_names(p->kind->not_enforced), "probe", "ok", "token", t->description);

    for (size_t n = 0; birth && n < N_PRIVATE; n++)
        if (private_rows[n].name && p->known[n] && json_object_set_new(birth, private_rows[n].name, json_boolean(p->read[n]))) {
            json_decref(birth);
            birth = NULL;
        }
    if (birth && json_object_get(birth, "not_enforced")) {
        *out = birth;
        return 0;
    }
    json_decref(birth);
    return fault_set(f, LANE_TOKEN, "out of memory");
}

/* Only ever the pair this very call made: nobody has seen its public key. Some tokens remove both halves at once. */
static void discard(struct token *t, const struct pair *p)
{
    struct fault f;
    size_t left = 0;

    (void)t->f->C_DestroyObject(t->session, p->private);
    (void)t->f->C_DestroyObject(t->session, p->public);
    log_line(LOG_LEVEL_ERROR, "key-discarded", "label=%s removed=%s", p->label, !object_count(t, p->id, &left, &f) && !left ? "yes" : "no");
}

int generate_key(struct token *t, const struct method *m, struct span id, const char *label, struct buf *spki, json_t **birth, struct fault *f)
{
    struct pair p = {.method = m, .id = id, .label = label, .kind = token_kind(t)};
    size_t there;

    p.copies = t->settings->session_copies == SETTINGS_ON && m->name && m->algorithm->copies; /* none of kmsd's own keys */

    if (p.kind->pkcs1_needs_raw && m->mechanism == CKM_RSA_PKCS)
        return fault_set(f, LANE_UNABLE, "this kind of token has no PKCS#1 signatures without allowing raw RSA: no key of scheme %s is made on it", m->name);
    if (object_count(t, id, &there, f))
        return -1;
    if (there)
        return fault_set(f, LANE_KEY, "%zu objects of the token have that key id already", there);
    if (generate_pair(t, &p, f))
        return -1;
    if (read_back(t, &p, f) || probe(t, &p, spki, f) || token_sync(t, f) || write_birth(t, &p, birth, f)) {
        discard(t, &p);
        return -1;
    }
    return 0;
}
