/* The token of fuzz_lane: objects in memory, each use judged by the label of the key and by what the lane was asked. */
#include "tests/fuzz/lanetoken.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

#define THINGS_MAX 64
#define SESSIONS_MAX 8

/* An object of the token; its handle is its place and one. */
struct thing {
    CK_OBJECT_CLASS class;
    CK_BBOOL token;
    uint8_t id[KEY_ID_LEN], value[512];
    size_t id_len, value_len;
    char label[OBJECT_LABEL_MAX];
    unsigned pair;
};

struct lanetoken_pair lanetoken_pairs[PAIRS] = {
    {.label = "kmsd:release:a:1"}, {.label = "kmsd:release:b:1:digest"}, [PAIR_CA] = {.label = LABEL_CA}, {.label = "another's"}, {.label = "kmsd:release:c:7"}};
const struct frame *lanetoken_asked;
static struct token_settings settings;
static CK_FUNCTION_LIST list;
static CK_TOKEN_INFO info;

/* One run. */
static const struct lane *lane;
static struct thing things[THINGS_MAX];
static size_t n_things;
static CK_OBJECT_HANDLE hits[THINGS_MAX], with[SESSIONS_MAX + 1]; /* with: what a session began a signature with */
static bool opened[SESSIONS_MAX + 1];
static CK_ULONG n_hits;

void require(bool holds)
{
    if (!holds)
        abort();
}

void log_program(const char *name)
{
    (void)name;
}

void log_line(enum log_level level, const char *event, const char *fmt, ...)
{
    (void)level;
    (void)event;
    (void)fmt;
}

static struct thing *thing(CK_OBJECT_HANDLE o)
{
    struct thing *t = o && o <= n_things ? &things[o - 1] : NULL;

    return t && t->class != CK_UNAVAILABLE_INFORMATION ? t : NULL;
}

static bool is_release(const struct thing *t)
{
    return !strncmp(t->label, "kmsd:release:", 13);
}

static CK_RV yes(void)
{
    return CKR_OK;
}

static CK_RV get_info(CK_INFO *out)
{
    memset(out, ' ', sizeof *out);
    memcpy(out->manufacturerID, "SoftHSM", 7);
    return CKR_OK;
}

static CK_RV token_info(CK_SLOT_ID slot, CK_TOKEN_INFO *out)
{
    (void)slot;
    *out = info;
    return CKR_OK;
}

static CK_RV open_session(CK_SLOT_ID slot, CK_FLAGS flags, void *app, CK_NOTIFY notify, CK_SESSION_HANDLE *out)
{
    (void)slot;
    (void)flags;
    (void)app;
    (void)notify;
    for (CK_SESSION_HANDLE s = 1; s <= SESSIONS_MAX; s++)
        if (!opened[s]) {
            opened[*out = s] = true;
            return CKR_OK;
        }
    return CKR_SESSION_COUNT;
}

static CK_RV close_session(CK_SESSION_HANDLE s)
{
    require(s <= SESSIONS_MAX && opened[s]);
    opened[s] = false;
    with[s] = 0;
    return CKR_OK;
}

static CK_RV find_final(CK_SESSION_HANDLE s)
{
    require(s <= SESSIONS_MAX && opened[s]);
    return CKR_OK;
}

static CK_RV session_info(CK_SESSION_HANDLE s, CK_SESSION_INFO *out)
{
    (void)s;
    *out = (CK_SESSION_INFO){.state = CKS_RW_USER_FUNCTIONS};
    return yes();
}

static struct span value_of(const struct thing *t, CK_ATTRIBUTE_TYPE type)
{
    static const CK_BBOOL set = CK_TRUE, unset = CK_FALSE;

    if (t->class == CKO_DATA)
        return type == CKA_CLASS   ? span_of(&t->class, sizeof t->class)
               : type == CKA_LABEL ? span_str(t->label)
               : type == CKA_VALUE ? span_of(t->value, t->value_len)
                                   : span_of(NULL, 0);
    switch (type) {
    case CKA_CLASS: return span_of(&t->class, sizeof t->class);
    case CKA_KEY_TYPE: return span_of(&algorithm_p256.type, sizeof algorithm_p256.type);
    case CKA_ID: return span_of(t->id, t->id_len);
    case CKA_LABEL: return span_str(t->label);
    case CKA_EC_POINT: return span_of(lanetoken_pairs[t->pair].point, sizeof lanetoken_pairs->point);
    case CKA_EC_PARAMS: return algorithm_p256.curve->params;
    case CKA_KEY_GEN_MECHANISM: return span_of(&algorithm_p256.generate, sizeof algorithm_p256.generate);
    case CKA_ALLOWED_MECHANISMS: return span_of(&method_ca.mechanism, sizeof method_ca.mechanism);
    case CKA_TOKEN: return span_of(&t->token, sizeof t->token);
    case CKA_COPYABLE: return span_of(settings.session_copies == SETTINGS_ON ? &set : &unset, sizeof set);
    case CKA_PRIVATE: case CKA_SENSITIVE: case CKA_SIGN: case CKA_ALWAYS_SENSITIVE: case CKA_NEVER_EXTRACTABLE: case CKA_LOCAL:
    case CKA_VERIFY: return span_of(&set, sizeof set);
    default: return span_of(&unset, sizeof unset);
    }
}

static CK_RV find_init(CK_SESSION_HANDLE s, CK_ATTRIBUTE *a, CK_ULONG n)
{
    (void)s;
    n_hits = 0;
    for (CK_OBJECT_HANDLE o = 1; o <= n_things; o++) {
        bool fits = thing(o) != NULL;

        for (CK_ULONG k = 0; k < n && fits; k++)
            fits = span_eq(value_of(thing(o), a[k].type), span_of(a[k].pValue, a[k].ulValueLen));
        if (fits)
            hits[n_hits++] = o;
    }
    return yes();
}

static CK_RV find(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE *out, CK_ULONG max, CK_ULONG *n)
{
    (void)s;
    *n = n_hits < max ? n_hits : max;
    memcpy(out, hits, *n * sizeof *out);
    n_hits -= *n;
    memmove(hits, hits + *n, n_hits * sizeof *hits);
    return yes();
}

static CK_RV get_attributes(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE o, CK_ATTRIBUTE *a, CK_ULONG n)
{
    const struct thing *t = thing(o);
    CK_RV worst = t ? CKR_OK : CKR_OBJECT_HANDLE_INVALID;

    (void)s;
    for (CK_ULONG k = 0; k < n && t; k++) {
        struct span v = value_of(t, a[k].type);
        bool fits = v.data && v.len <= a[k].ulValueLen;

        if (fits)
            memcpy(a[k].pValue, v.data, v.len);
        else
            worst = v.data ? CKR_BUFFER_TOO_SMALL : CKR_ATTRIBUTE_TYPE_INVALID;
        a[k].ulValueLen = fits ? v.len : CK_UNAVAILABLE_INFORMATION;
    }
    return worst;
}

static CK_RV sign_init(CK_SESSION_HANDLE s, CK_MECHANISM *m, CK_OBJECT_HANDLE o)
{
    require(m->mechanism == CKM_ECDSA && s <= SESSIONS_MAX && opened[s] && !with[s]);
    if (!thing(o) || thing(o)->class != CKO_PRIVATE_KEY)
        return CKR_KEY_HANDLE_INVALID;
    with[s] = o;
    return CKR_OK;
}

/* What the lane has the token sign: for each purpose what it is for, and the probe of either lane. */
static void judge_use(const struct thing *t, struct span digest)
{
    struct span in = lanetoken_asked->field[TAG_INPUT];
    uint8_t hash[32];

    if (lane->admin) {
        require(lanetoken_asked->type == FRAME_GENERATE ? is_release(t) : !strcmp(t->label, LABEL_CA));
        require(lanetoken_asked->type == FRAME_GENERATE || lanetoken_asked->type == FRAME_ISSUE || lanetoken_asked->type == FRAME_PROBE);
        return;
    }
    require(is_release(t) && (lanetoken_asked->type == FRAME_SIGN || lanetoken_asked->type == FRAME_PROBE));
    if (lanetoken_asked->type == FRAME_PROBE)
        return;
    require(span_eq(lanetoken_asked->field[TAG_KEY_ID], span_of(t->id, t->id_len)));
    if (span_eq_str(lanetoken_asked->field[TAG_SCHEME], "digest")) {
        require(strstr(t->label, ":digest") && span_eq(in, digest));
        return;
    }
    require(!strstr(t->label, ":digest") && in.len > 40 && !memcmp(in.data, STATEMENT_PREFIX, sizeof STATEMENT_PREFIX - 1) && in.data[in.len - 1] == '}');
    require(SHA256(in.data, in.len, hash) && span_eq(span_of(hash, sizeof hash), digest));
}

static CK_RV sign(CK_SESSION_HANDLE s, CK_BYTE *data, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len)
{
    const struct thing *key = thing(with[s]);
    EVP_PKEY_CTX *ctx;
    uint8_t der[128];
    const uint8_t *p = der;
    size_t n = sizeof der;
    ECDSA_SIG *sig;

    with[s] = 0;
    require(key && len == 32 && *out_len >= 64);
    judge_use(key, span_of(data, len));
    ctx = EVP_PKEY_CTX_new(lanetoken_pairs[key->pair].key, NULL);
    require(EVP_PKEY_sign_init(ctx) == 1 && EVP_PKEY_sign(ctx, der, &n, data, len) == 1);
    sig = d2i_ECDSA_SIG(NULL, &p, (long)n);
    require(sig && BN_bn2binpad(ECDSA_SIG_get0_r(sig), out, 32) == 32 && BN_bn2binpad(ECDSA_SIG_get0_s(sig), out + 32, 32) == 32);
    ECDSA_SIG_free(sig);
    EVP_PKEY_CTX_free(ctx);
    *out_len = 64;
    return yes();
}

static CK_OBJECT_HANDLE add(const struct thing *t)
{
    if (n_things == THINGS_MAX)
        return 0;
    things[n_things++] = *t;
    return n_things;
}

static void take(struct thing *t, const CK_ATTRIBUTE *a, CK_ULONG n)
{
    for (CK_ULONG k = 0; k < n; k++) {
        if (a[k].type == CKA_ID && a[k].ulValueLen <= sizeof t->id)
            memcpy(t->id, a[k].pValue, t->id_len = a[k].ulValueLen);
        if (a[k].type == CKA_LABEL && a[k].ulValueLen < sizeof t->label)
            memcpy(t->label, a[k].pValue, a[k].ulValueLen);
        if (a[k].type == CKA_VALUE && a[k].ulValueLen <= sizeof t->value)
            memcpy(t->value, a[k].pValue, t->value_len = a[k].ulValueLen);
    }
}

static CK_RV generate_pair(CK_SESSION_HANDLE s, CK_MECHANISM *m, CK_ATTRIBUTE *a, CK_ULONG n, CK_ATTRIBUTE *b, CK_ULONG k, CK_OBJECT_HANDLE *public,
                           CK_OBJECT_HANDLE *private)
{
    struct thing t = {.class = CKO_PUBLIC_KEY, .token = CK_TRUE, .pair = PAIRS - 1};

    (void)s;
    require(lane->admin && lanetoken_asked->type == FRAME_GENERATE);
    if (m->mechanism != CKM_EC_KEY_PAIR_GEN || n_things + 2 > THINGS_MAX)
        return CKR_MECHANISM_INVALID;
    take(&t, a, n);
    *public = add(&t);
    t.class = CKO_PRIVATE_KEY;
    take(&t, b, k);
    *private = add(&t);
    require(is_release(&t) && t.id_len == KEY_ID_LEN);
    return yes();
}

static CK_RV destroy(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE o)
{
    struct thing *t = thing(o);

    (void)s;
    if (!t)
        return CKR_OBJECT_HANDLE_INVALID;
    if (t->class == CKO_DATA)
        require(lanetoken_asked->type == FRAME_ANCHOR && !strcmp(t->label, LABEL_ANCHOR));
    else if (t->token)
        require(lane->admin && is_release(t) && (lanetoken_asked->type == FRAME_DESTROY || lanetoken_asked->type == FRAME_GENERATE));
    t->class = CK_UNAVAILABLE_INFORMATION;
    return yes();
}

static CK_RV create_object(CK_SESSION_HANDLE s, CK_ATTRIBUTE *a, CK_ULONG n, CK_OBJECT_HANDLE *out)
{
    struct thing t = {.class = CKO_DATA, .token = CK_TRUE};

    (void)s;
    take(&t, a, n);
    require(lane->admin && lanetoken_asked->type == FRAME_ANCHOR && !strncmp(t.label, ANCHOR_LABEL, sizeof ANCHOR_LABEL - 1));
    *out = add(&t);
    return *out ? CKR_OK : CKR_DEVICE_MEMORY;
}

static CK_RV copy_object(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE o, CK_ATTRIBUTE *a, CK_ULONG n, CK_OBJECT_HANDLE *out)
{
    struct thing t = *thing(o);

    (void)s;
    require(!lane->admin && n == 1 && a->type == CKA_TOKEN && !*(CK_BBOOL *)a->pValue && is_release(&t));
    t.token = CK_FALSE;
    *out = add(&t);
    return *out ? CKR_OK : CKR_DEVICE_MEMORY;
}

static CK_RV random_bytes(CK_SESSION_HANDLE s, CK_BYTE *out, CK_ULONG len)
{
    (void)s;
    memset(out, 7, len);
    return yes();
}

static void make_pair(unsigned n)
{
    uint8_t *der = NULL;
    int len;

    lanetoken_pairs[n].key = EVP_EC_gen("P-256");
    len = i2d_PUBKEY(lanetoken_pairs[n].key, &der);
    require(len == 91);
    lanetoken_pairs[n].spki = BUF_INIT(SPKI_MAX);
    buf_put(&lanetoken_pairs[n].spki, der, (size_t)len);
    lanetoken_pairs[n].point[0] = 0x04;
    lanetoken_pairs[n].point[1] = 65;
    memcpy(lanetoken_pairs[n].point + 2, der + 26, 65);
    memset(lanetoken_pairs[n].id, (int)n + 1, KEY_ID_LEN);
    OPENSSL_free(der);
}

void lanetoken_make(void)
{
    for (unsigned n = 0; n < PAIRS; n++)
        make_pair(n);
    memset(&info, ' ', sizeof info);
    info.flags = CKF_TOKEN_INITIALIZED | CKF_RNG;
    list = (CK_FUNCTION_LIST){.C_GetInfo = get_info, .C_GetTokenInfo = token_info, .C_OpenSession = open_session, .C_CloseSession = close_session,
                              .C_GetSessionInfo = session_info, .C_FindObjectsInit = find_init, .C_FindObjects = find, .C_FindObjectsFinal = find_final,
                              .C_GetAttributeValue = get_attributes, .C_SignInit = sign_init, .C_Sign = sign, .C_GenerateKeyPair = generate_pair,
                              .C_DestroyObject = destroy, .C_CreateObject = create_object, .C_CopyObject = copy_object, .C_GenerateRandom = random_bytes};
}

void lanetoken_begin(struct lane *l, bool copies, unsigned ahead)
{
    memset(with, 0, sizeof with);
    memset(opened, 0, sizeof opened);
    opened[1] = true;
    n_things = 0;
    for (unsigned n = 0; n < 2 * (PAIRS - 1); n++) {
        struct thing *t = &things[n_things++];

        *t = (struct thing){.class = n % 2 ? CKO_PUBLIC_KEY : CKO_PRIVATE_KEY, .token = CK_TRUE, .pair = n / 2, .id_len = KEY_ID_LEN};
        memcpy(t->id, lanetoken_pairs[n / 2].id, KEY_ID_LEN);
        (void)snprintf(t->label, sizeof t->label, "%s", lanetoken_pairs[n / 2].label);
    }
    settings.sign_ahead = ahead;
    settings.session_copies = copies ? SETTINGS_ON : SETTINGS_OFF;
    l->token = (struct token){.settings = &settings, .f = &list, .slot_id = 1, .session = 1, .sessions = 1, .epoch = 1, .info = info, .objects = objects_new(),
                              .description = json_pack("{s:s, s:s}", "label", "fuzz", "serial", "1")};
    ahead_allow(&l->token);
    lane = l;
}

void lanetoken_end(struct lane *l)
{
    ahead_drop(&l->token);
    for (CK_SESSION_HANDLE s = 2; s <= SESSIONS_MAX; s++)
        require(!opened[s]);
}
