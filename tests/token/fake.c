/* A small PKCS#11 token for tests: P-256 keys derived from their CKA_ID, one slot, a PIN that locks, and misbehaviour on demand.
 *
 * What it holds lies in MODULE.store beside the module (struct store), shared by all processes; the test makes the file and changes it at will. */
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#include "tests/token/cryptoki.h"

#define KEYS_MAX 256
#define ID_LEN 16
#define LABEL_MAX 160
#define PIN_TRIES 3
#define SESSIONS_MAX 32
#define POINT_LEN 65

enum mode {
    WRONG_PUBLIC = 1,     /* the public object is another key's */
    HIDE_PRIVATE = 2,     /* private keys are not found */
    EXTRACTABLE = 4,      /* private keys say that they can be taken out */
    WRONG_SIGNATURE = 8,  /* signs another digest than asked */
    PICKY = 16,           /* refuses a template that says more than the necessary */
    ABSENT = 32,          /* the slot is empty */
    BARE_POINT = 64,      /* CKA_EC_POINT without its OCTET STRING */
    FORGETFUL = 128,      /* every session is logged out again after a signature */
};

struct record {
    uint64_t used;
    uint8_t id[ID_LEN];
    char label[LABEL_MAX];
};
struct store {
    uint64_t modes, wrong_pins, n;
    char pin[64];
    struct record key[KEYS_MAX];
};

struct session {
    bool open, searching, signing;
    CK_OBJECT_HANDLE key, hits[2 * KEYS_MAX];
    CK_ULONG n_hits, at;
};

static struct store *store;
static struct session sessions[SESSIONS_MAX];
static bool initialized, logged_in;
static CK_FUNCTION_LIST ours;
static const uint8_t p256[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};

static bool mode(enum mode m)
{
    return (store->modes & (uint64_t)m) != 0;
}

/* Handles: 2k + 1 is the public, 2k + 2 the private object of record k. */
static struct record *record_of(CK_OBJECT_HANDLE h)
{
    return h && (h - 1) / 2 < store->n && store->key[(h - 1) / 2].used ? &store->key[(h - 1) / 2] : NULL;
}

static bool is_private(CK_OBJECT_HANDLE h)
{
    return h % 2 == 0;
}

static struct session *session_of(CK_SESSION_HANDLE s)
{
    return s && s <= SESSIONS_MAX && sessions[s - 1].open ? &sessions[s - 1] : NULL;
}

static void pad(CK_UTF8CHAR *out, size_t len, const char *text)
{
    memset(out, ' ', len);
    memcpy(out, text, strlen(text));
}

/* keys */

static EVP_PKEY *key_pair(const uint8_t id[static ID_LEN], uint8_t point[static POINT_LEN])
{
    uint8_t seed[SHA256_DIGEST_LENGTH];
    EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
    EC_POINT *public = EC_POINT_new(group);
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    OSSL_PARAM *params = NULL;
    EVP_PKEY *key = NULL;
    BIGNUM *d;

    SHA256(id, ID_LEN, seed);
    d = BN_bin2bn(seed, sizeof seed, NULL);
    if (group && public && build && ctx && d && EC_POINT_mul(group, public, d, NULL, NULL, NULL) == 1 &&
        EC_POINT_point2oct(group, public, POINT_CONVERSION_UNCOMPRESSED, point, POINT_LEN, NULL) == POINT_LEN &&
        OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0) == 1 &&
        OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_PRIV_KEY, d) == 1 &&
        OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, point, POINT_LEN) == 1 && (params = OSSL_PARAM_BLD_to_param(build)) &&
        EVP_PKEY_fromdata_init(ctx) == 1 && EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_KEYPAIR, params) != 1)
        key = NULL;
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(build);
    EVP_PKEY_CTX_free(ctx);
    EC_POINT_free(public);
    EC_GROUP_free(group);
    BN_free(d);
    return key;
}

static int sign_digest(const uint8_t id[static ID_LEN], const uint8_t *digest, size_t len, uint8_t raw[static 64])
{
    uint8_t der[80], point[POINT_LEN];
    const uint8_t *p = der;
    size_t der_len = sizeof der;
    EVP_PKEY *key = key_pair(id, point);
    EVP_PKEY_CTX *ctx = key ? EVP_PKEY_CTX_new(key, NULL) : NULL;
    ECDSA_SIG *sig = NULL;
    int bad = -1;

    if (ctx && EVP_PKEY_sign_init(ctx) == 1 && EVP_PKEY_sign(ctx, der, &der_len, digest, len) == 1 && (sig = d2i_ECDSA_SIG(NULL, &p, (long)der_len)) &&
        BN_bn2binpad(ECDSA_SIG_get0_r(sig), raw, 32) == 32 && BN_bn2binpad(ECDSA_SIG_get0_s(sig), raw + 32, 32) == 32)
        bad = 0;
    ECDSA_SIG_free(sig);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(key);
    return bad;
}

/* attributes: what the object has, copied into buf; length or -1 */

static int boolean(CK_ATTRIBUTE_TYPE type, bool private)
{
    static const struct {
        CK_ATTRIBUTE_TYPE type;
        int public, private; /* -1 = has none */
    } table[] = {
        {CKA_TOKEN, 1, 1},          {CKA_PRIVATE, 0, 1},          {CKA_MODIFIABLE, 0, 0},        {CKA_COPYABLE, 0, 0},
        {CKA_SENSITIVE, -1, 1},     {CKA_SIGN, -1, 1},            {CKA_EXTRACTABLE, -1, 0},      {CKA_DECRYPT, -1, 0},
        {CKA_UNWRAP, -1, 0},        {CKA_SIGN_RECOVER, -1, 0},    {CKA_ALWAYS_SENSITIVE, -1, 1}, {CKA_NEVER_EXTRACTABLE, -1, 1},
        {CKA_LOCAL, 1, 1},          {CKA_DERIVE, 0, 0},           {CKA_VERIFY, 1, -1},           {CKA_ENCRYPT, 0, -1},
        {CKA_WRAP, 0, -1},          {CKA_VERIFY_RECOVER, 0, -1},
    };

    for (size_t n = 0; n < sizeof table / sizeof *table; n++)
        if (table[n].type == type)
            return type == CKA_EXTRACTABLE && private && mode(EXTRACTABLE) ? 1 : private ? table[n].private : table[n].public;
    return -1;
}

static int put(uint8_t *buf, const void *data, size_t len)
{
    memcpy(buf, data, len);
    return (int)len;
}

static int point_attribute(const struct record *r, uint8_t buf[static 256])
{
    uint8_t id[ID_LEN], *at = buf;
    EVP_PKEY *key;

    memcpy(id, r->id, sizeof id);
    if (mode(WRONG_PUBLIC))
        id[0] ^= 0xff;
    if (!mode(BARE_POINT)) {
        *at++ = 4;
        *at++ = POINT_LEN;
    }
    key = key_pair(id, at);
    EVP_PKEY_free(key);
    return key ? (int)(at - buf) + POINT_LEN : -1;
}

static int attribute(CK_OBJECT_HANDLE h, CK_ATTRIBUTE_TYPE type, uint8_t buf[static 256])
{
    const struct record *r = record_of(h);
    CK_ULONG class = is_private(h) ? CKO_PRIVATE_KEY : CKO_PUBLIC_KEY, ec = CKK_EC, made = CKM_EC_KEY_PAIR_GEN, signs = CKM_ECDSA;
    CK_BBOOL value;
    int known;

    switch (type) {
    case CKA_CLASS: return put(buf, &class, sizeof class);
    case CKA_KEY_TYPE: return put(buf, &ec, sizeof ec);
    case CKA_KEY_GEN_MECHANISM: return put(buf, &made, sizeof made);
    case CKA_ALLOWED_MECHANISMS: return put(buf, &signs, sizeof signs);
    case CKA_ID: return put(buf, r->id, sizeof r->id);
    case CKA_LABEL: return put(buf, r->label, strlen(r->label));
    case CKA_EC_PARAMS: return put(buf, p256, sizeof p256);
    case CKA_EC_POINT: return is_private(h) ? -1 : point_attribute(r, buf);
    default: known = boolean(type, is_private(h)); break;
    }
    value = (CK_BBOOL)(known > 0);
    return known < 0 ? -1 : put(buf, &value, 1);
}

static bool matches(CK_OBJECT_HANDLE h, const CK_ATTRIBUTE *want, CK_ULONG n)
{
    uint8_t have[256];

    if (!record_of(h) || (is_private(h) && (!logged_in || mode(HIDE_PRIVATE))))
        return false;
    for (CK_ULONG k = 0; k < n; k++) {
        int len = attribute(h, want[k].type, have);

        if (len < 0 || (CK_ULONG)len != want[k].ulValueLen || memcmp(have, want[k].pValue, (size_t)len))
            return false;
    }
    return true;
}

/* Cryptoki */

/* Arguments that a function does not use are marked by mentioning them. */
static void ignore(int dummy, ...)
{
    (void)dummy;
}
#define UNPACK(...) ignore(0, __VA_ARGS__)
#define X(name, parameters, arguments) \
    static CK_RV none_##name parameters \
    { \
        UNPACK arguments; \
        return CKR_FUNCTION_NOT_SUPPORTED; \
    }
CRYPTOKI_FUNCTIONS(X)
#undef X

static void map_store(void)
{
    char path[PATH_MAX];
    Dl_info self;
    int fd;

    if (!dladdr(&ours, &self))
        return;
    (void)snprintf(path, sizeof path, "%s.store", self.dli_fname);
    fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return;
    store = mmap(NULL, sizeof *store, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (store == MAP_FAILED)
        store = NULL;
    (void)close(fd);
}

static CK_RV initialize(void *arguments)
{
    (void)arguments;
    if (initialized)
        return CKR_CRYPTOKI_ALREADY_INITIALIZED;
    map_store();
    if (!store)
        return CKR_GENERAL_ERROR;
    initialized = true;
    return CKR_OK;
}

static CK_RV finalize(void *reserved)
{
    (void)reserved;
    memset(sessions, 0, sizeof sessions);
    initialized = logged_in = false;
    return CKR_OK;
}

static CK_RV get_info(CK_INFO *info)
{
    memset(info, 0, sizeof *info);
    info->cryptokiVersion.major = 2;
    info->cryptokiVersion.minor = 40;
    pad(info->manufacturerID, sizeof info->manufacturerID, "kmsd tests");
    pad(info->libraryDescription, sizeof info->libraryDescription, "fake token");
    return CKR_OK;
}

static CK_RV slot_list(CK_BBOOL present, CK_SLOT_ID *list, CK_ULONG *n)
{
    CK_ULONG there = present && mode(ABSENT) ? 0 : 1;

    if (list && *n < there)
        return CKR_BUFFER_TOO_SMALL;
    if (list && there)
        *list = 1;
    *n = there;
    return CKR_OK;
}

static CK_RV slot_info(CK_SLOT_ID slot, CK_SLOT_INFO *info)
{
    if (slot != 1)
        return CKR_SLOT_ID_INVALID;
    memset(info, 0, sizeof *info);
    pad(info->slotDescription, sizeof info->slotDescription, "fake slot");
    pad(info->manufacturerID, sizeof info->manufacturerID, "kmsd tests");
    info->flags = mode(ABSENT) ? CKF_REMOVABLE_DEVICE : CKF_REMOVABLE_DEVICE | CKF_TOKEN_PRESENT;
    return CKR_OK;
}

static CK_RV token_info(CK_SLOT_ID slot, CK_TOKEN_INFO *info)
{
    if (slot != 1)
        return CKR_SLOT_ID_INVALID;
    if (mode(ABSENT))
        return CKR_TOKEN_NOT_PRESENT;
    memset(info, 0, sizeof *info);
    pad(info->label, sizeof info->label, "kmsd-keys");
    pad(info->manufacturerID, sizeof info->manufacturerID, "kmsd tests");
    pad(info->model, sizeof info->model, "fake");
    pad(info->serialNumber, sizeof info->serialNumber, "1");
    info->flags = CKF_RNG | CKF_LOGIN_REQUIRED | CKF_USER_PIN_INITIALIZED | CKF_TOKEN_INITIALIZED;
    info->flags |= store->wrong_pins >= PIN_TRIES ? CKF_USER_PIN_LOCKED : 0;
    info->flags |= store->wrong_pins == PIN_TRIES - 1 ? CKF_USER_PIN_FINAL_TRY : 0;
    return CKR_OK;
}

static CK_RV open_session(CK_SLOT_ID slot, CK_FLAGS flags, void *application, CK_NOTIFY notify, CK_SESSION_HANDLE *out)
{
    (void)flags;
    (void)application;
    (void)notify;
    if (slot != 1)
        return CKR_SLOT_ID_INVALID;
    if (mode(ABSENT))
        return CKR_TOKEN_NOT_PRESENT;
    for (unsigned n = 0; n < SESSIONS_MAX; n++)
        if (!sessions[n].open) {
            sessions[n] = (struct session){.open = true};
            *out = n + 1;
            return CKR_OK;
        }
    return CKR_SESSION_COUNT;
}

static CK_RV close_session(CK_SESSION_HANDLE s)
{
    struct session *at = session_of(s);

    if (!at)
        return CKR_SESSION_HANDLE_INVALID;
    at->open = false;
    return CKR_OK;
}

static CK_RV close_all(CK_SLOT_ID slot)
{
    (void)slot;
    memset(sessions, 0, sizeof sessions);
    logged_in = false;
    return CKR_OK;
}

static CK_RV session_info(CK_SESSION_HANDLE s, CK_SESSION_INFO *info)
{
    if (!session_of(s))
        return CKR_SESSION_HANDLE_INVALID;
    *info = (CK_SESSION_INFO){.slotID = 1, .flags = CKF_SERIAL_SESSION | CKF_RW_SESSION};
    info->state = logged_in ? CKS_RW_USER_FUNCTIONS : CKS_RW_PUBLIC_SESSION;
    return CKR_OK;
}

static CK_RV login(CK_SESSION_HANDLE s, CK_USER_TYPE user, CK_BYTE *pin, CK_ULONG len)
{
    if (!session_of(s))
        return CKR_SESSION_HANDLE_INVALID;
    if (user != CKU_USER)
        return CKR_USER_TYPE_INVALID;
    if (logged_in)
        return CKR_USER_ALREADY_LOGGED_IN;
    if (store->wrong_pins >= PIN_TRIES)
        return CKR_PIN_LOCKED;
    if (len != strlen(store->pin) || memcmp(pin, store->pin, len)) {
        store->wrong_pins++;
        return CKR_PIN_INCORRECT;
    }
    store->wrong_pins = 0;
    logged_in = true;
    return CKR_OK;
}

static CK_RV logout(CK_SESSION_HANDLE s)
{
    logged_in = false;
    return session_of(s) ? CKR_OK : CKR_SESSION_HANDLE_INVALID;
}

static CK_RV find_init(CK_SESSION_HANDLE s, CK_ATTRIBUTE *want, CK_ULONG n)
{
    struct session *at = session_of(s);

    if (!at)
        return CKR_SESSION_HANDLE_INVALID;
    if (at->searching)
        return CKR_OPERATION_ACTIVE;
    at->searching = true;
    at->n_hits = at->at = 0;
    for (CK_OBJECT_HANDLE h = 1; h <= 2 * store->n; h++)
        if (matches(h, want, n))
            at->hits[at->n_hits++] = h;
    return CKR_OK;
}

static CK_RV find(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE *out, CK_ULONG max, CK_ULONG *n)
{
    struct session *at = session_of(s);

    if (!at)
        return CKR_SESSION_HANDLE_INVALID;
    if (!at->searching)
        return CKR_OPERATION_NOT_INITIALIZED;
    for (*n = 0; *n < max && at->at < at->n_hits; ++*n)
        out[*n] = at->hits[at->at++];
    return CKR_OK;
}

static CK_RV find_final(CK_SESSION_HANDLE s)
{
    struct session *at = session_of(s);

    if (!at)
        return CKR_SESSION_HANDLE_INVALID;
    at->searching = false;
    return CKR_OK;
}

static CK_RV get_one(CK_OBJECT_HANDLE h, CK_ATTRIBUTE *a)
{
    uint8_t value[256];
    int len = attribute(h, a->type, value);
    CK_ULONG room = a->ulValueLen;

    a->ulValueLen = len < 0 ? CK_UNAVAILABLE_INFORMATION : (CK_ULONG)len;
    if (len < 0)
        return CKR_ATTRIBUTE_TYPE_INVALID;
    if (!a->pValue)
        return CKR_OK;
    if (room < (CK_ULONG)len) {
        a->ulValueLen = CK_UNAVAILABLE_INFORMATION;
        return CKR_BUFFER_TOO_SMALL;
    }
    memcpy(a->pValue, value, (size_t)len);
    return CKR_OK;
}

static CK_RV get_attributes(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE h, CK_ATTRIBUTE *a, CK_ULONG n)
{
    CK_RV worst = CKR_OK;

    if (!session_of(s))
        return CKR_SESSION_HANDLE_INVALID;
    if (!record_of(h))
        return CKR_OBJECT_HANDLE_INVALID;
    for (CK_ULONG k = 0; k < n; k++) {
        CK_RV rv = get_one(h, &a[k]);

        worst = rv == CKR_OK ? worst : rv;
    }
    return worst;
}

/* What a token that knows little takes: the identity of the key, and that it signs and stays inside. */
static bool too_much(const CK_ATTRIBUTE *a, CK_ULONG n)
{
    for (CK_ULONG k = 0; k < n; k++)
        switch (a[k].type) {
        case CKA_ALLOWED_MECHANISMS: case CKA_MODIFIABLE: case CKA_COPYABLE: case CKA_UNWRAP: case CKA_SIGN_RECOVER: case CKA_VERIFY_RECOVER:
            return true;
        default: break;
        }
    return false;
}

static void take(struct record *r, const CK_ATTRIBUTE *a, CK_ULONG n)
{
    for (CK_ULONG k = 0; k < n; k++) {
        if (a[k].type == CKA_ID && a[k].ulValueLen == ID_LEN)
            memcpy(r->id, a[k].pValue, ID_LEN);
        if (a[k].type == CKA_LABEL && a[k].ulValueLen < LABEL_MAX)
            memcpy(r->label, a[k].pValue, a[k].ulValueLen);
    }
}

static CK_RV generate(CK_SESSION_HANDLE s, CK_MECHANISM *m, CK_ATTRIBUTE *public, CK_ULONG n_public, CK_ATTRIBUTE *private, CK_ULONG n_private,
                      CK_OBJECT_HANDLE *public_out, CK_OBJECT_HANDLE *private_out)
{
    struct record *r = &store->key[store->n];

    if (!session_of(s))
        return CKR_SESSION_HANDLE_INVALID;
    if (!logged_in)
        return CKR_USER_NOT_LOGGED_IN;
    if (m->mechanism != CKM_EC_KEY_PAIR_GEN)
        return CKR_MECHANISM_INVALID;
    if (mode(PICKY) && (too_much(public, n_public) || too_much(private, n_private)))
        return CKR_TEMPLATE_INCONSISTENT;
    if (store->n == KEYS_MAX)
        return CKR_DEVICE_MEMORY;
    *r = (struct record){.used = 1};
    take(r, private, n_private);
    *public_out = 2 * store->n + 1;
    *private_out = 2 * store->n + 2;
    store->n++;
    return CKR_OK;
}

/* A record goes with its private half: nothing here destroys one alone. */
static CK_RV destroy(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE h)
{
    if (!session_of(s))
        return CKR_SESSION_HANDLE_INVALID;
    if (!record_of(h))
        return is_private(h) ? CKR_OBJECT_HANDLE_INVALID : CKR_OK;
    record_of(h)->used = 0;
    return CKR_OK;
}

static CK_RV sign_init(CK_SESSION_HANDLE s, CK_MECHANISM *m, CK_OBJECT_HANDLE key)
{
    struct session *at = session_of(s);

    if (!at)
        return CKR_SESSION_HANDLE_INVALID;
    if (!logged_in)
        return CKR_USER_NOT_LOGGED_IN;
    if (m->mechanism != CKM_ECDSA)
        return CKR_MECHANISM_INVALID;
    if (!record_of(key) || !is_private(key))
        return CKR_KEY_HANDLE_INVALID;
    if (at->signing)
        return CKR_OPERATION_ACTIVE;
    at->signing = true;
    at->key = key;
    return CKR_OK;
}

static CK_RV sign(CK_SESSION_HANDLE s, CK_BYTE *data, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len)
{
    struct session *at = session_of(s);
    uint8_t digest[32];

    if (!at)
        return CKR_SESSION_HANDLE_INVALID;
    if (!at->signing)
        return CKR_OPERATION_NOT_INITIALIZED;
    if (len != sizeof digest || *out_len < 64)
        return len != sizeof digest ? CKR_DATA_LEN_RANGE : CKR_BUFFER_TOO_SMALL;
    at->signing = false;
    memcpy(digest, data, sizeof digest);
    if (mode(WRONG_SIGNATURE))
        digest[31] ^= 1;
    if (!record_of(at->key) || sign_digest(record_of(at->key)->id, digest, sizeof digest, out))
        return CKR_FUNCTION_FAILED;
    if (mode(FORGETFUL))
        logged_in = false;
    *out_len = 64;
    return CKR_OK;
}

static CK_RV random_bytes(CK_SESSION_HANDLE s, CK_BYTE *out, CK_ULONG len)
{
    if (!session_of(s))
        return CKR_SESSION_HANDLE_INVALID;
    return len <= INT_MAX && RAND_bytes(out, (int)len) == 1 ? CKR_OK : CKR_FUNCTION_FAILED;
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list)
{
    ours.version.major = 2;
    ours.version.minor = 40;
#define X(name, parameters, arguments) ours.name = none_##name;
    CRYPTOKI_FUNCTIONS(X)
#undef X
    ours.C_GetFunctionList = C_GetFunctionList;
    ours.C_Initialize = initialize;
    ours.C_Finalize = finalize;
    ours.C_GetInfo = get_info;
    ours.C_GetSlotList = slot_list;
    ours.C_GetSlotInfo = slot_info;
    ours.C_GetTokenInfo = token_info;
    ours.C_OpenSession = open_session;
    ours.C_CloseSession = close_session;
    ours.C_CloseAllSessions = close_all;
    ours.C_GetSessionInfo = session_info;
    ours.C_Login = login;
    ours.C_Logout = logout;
    ours.C_FindObjectsInit = find_init;
    ours.C_FindObjects = find;
    ours.C_FindObjectsFinal = find_final;
    ours.C_GetAttributeValue = get_attributes;
    ours.C_GenerateKeyPair = generate;
    ours.C_DestroyObject = destroy;
    ours.C_SignInit = sign_init;
    ours.C_Sign = sign;
    ours.C_GenerateRandom = random_bytes;
    *list = &ours;
    return CKR_OK;
}
