/* Fuzzes what a PKCS#11 module may answer: lengths, attributes, values, signatures, all from the input; where the input ends the module is well-behaved.
 * No crash; no signature that does not verify; none made with a session copy unless the key itself was there afterwards and may sign; no key that read back weak; no PIN without a look at the token just before. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/x509.h>

#include "base/log.h"
#include "kmsd/token/generate.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PRIVATE 2
#define COPY 77
#define PUBLIC 3
#define LABEL "kmsd:release:fuzz:1"
#define SIGNATURE_LEN 64 /* of P-256 */

static const uint8_t key_id[KEY_ID_LEN] = "0123456789abcdef";
static struct token_settings settings;
static CK_FUNCTION_LIST list;
static EVP_PKEY *pair;
static uint8_t point[67];      /* OCTET STRING of the uncompressed point */
static struct buf spki;

/* One run. */
static const uint8_t *input;
static size_t left;
static bool logged_in, looked, weak, made, searched;
static bool loose, quick; /* the copy signed, and the key was not seen since; the copy is the one to sign */
static CK_ATTRIBUTE_TYPE wanted_class;
static CK_TOKEN_INFO honest;

static void require(bool holds)
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

static uint8_t next(void)
{
    if (!left)
        return 0;
    left--;
    return *input++;
}

static void fill(void *out, size_t len)
{
    for (size_t n = 0; n < len; n++)
        ((uint8_t *)out)[n] = next();
}

static CK_RV rv(void)
{
    static const CK_RV values[] = {0x02, 0x03, 0x05, 0x06, 0x07, 0x10, 0x11, 0x12, 0x13, 0x20, 0x21, 0x30, 0x31, 0x32, 0x60, 0x63, 0x68, 0x70, 0x82, 0x90, 0x91,
                                   0xA0, 0xA4, 0xB0, 0xB1, 0xB3, 0xD0, 0xD1, 0xE0, 0xE1, 0x100, 0x101, 0x102, 0x150, 0x190, 0x80000001};
    uint8_t dice = next();

    return dice < 200 ? CKR_OK : values[(dice + next()) % (sizeof values / sizeof *values)];
}

static CK_RV get_info(CK_INFO *info)
{
    static const char *const makers[] = {"SoftHSM", "tpm2-software.github.io", "Mozilla Foundation", "another"};

    memset(info, ' ', sizeof *info);
    memcpy(info->manufacturerID, makers[next() % 4], 7);
    return rv();
}

static CK_RV token_info(CK_SLOT_ID slot, CK_TOKEN_INFO *info)
{
    static const CK_FLAGS stops[] = {CKF_USER_PIN_LOCKED, CKF_USER_PIN_FINAL_TRY, CKF_USER_PIN_TO_BE_CHANGED, 0};
    uint8_t dice = next();
    CK_RV answer = rv();

    (void)slot;
    *info = honest;
    if (dice > 220)
        info->flags |= stops[dice % 4];
    if (dice > 240)
        info->serialNumber[dice % sizeof info->serialNumber] ^= 1;
    looked = answer == CKR_OK && !(info->flags & (CKF_USER_PIN_LOCKED | CKF_USER_PIN_FINAL_TRY | CKF_USER_PIN_TO_BE_CHANGED)) &&
             !memcmp(info->serialNumber, honest.serialNumber, sizeof honest.serialNumber);
    return answer;
}

static CK_RV open_session(CK_SLOT_ID slot, CK_FLAGS flags, void *app, CK_NOTIFY notify, CK_SESSION_HANDLE *out)
{
    (void)slot;
    (void)flags;
    (void)app;
    (void)notify;
    *out = 1U + next();
    return rv();
}

static CK_RV close_session(CK_SESSION_HANDLE s)
{
    (void)s;
    return rv();
}

static CK_RV session_info(CK_SESSION_HANDLE s, CK_SESSION_INFO *info)
{
    (void)s;
    if (next() > 200)
        logged_in = false;
    *info = (CK_SESSION_INFO){.state = logged_in ? CKS_RW_USER_FUNCTIONS : CKS_RW_PUBLIC_SESSION};
    return rv();
}

static CK_RV login(CK_SESSION_HANDLE s, CK_USER_TYPE who, CK_BYTE *pin, CK_ULONG len)
{
    CK_RV answer = rv();

    (void)s;
    (void)pin;
    require(who == CKU_USER && len && looked);
    looked = false;
    logged_in |= answer == CKR_OK;
    return answer;
}

static CK_RV find_init(CK_SESSION_HANDLE s, CK_ATTRIBUTE *a, CK_ULONG n)
{
    (void)s;
    wanted_class = CK_UNAVAILABLE_INFORMATION;
    if (n && a[0].type == CKA_CLASS)
        memcpy(&wanted_class, a[0].pValue, sizeof wanted_class);
    else if (n)
        wanted_class = CKO_DATA; /* by CKA_ID alone: is it taken? */
    searched = false;
    return rv();
}

static CK_RV find(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE *out, CK_ULONG max, CK_ULONG *n)
{
    uint8_t dice = next();

    (void)s;
    *n = 0;
    if (dice > 200) { /* any number, even one beyond the room */
        *n = dice > 250 ? max + next() : next() % max;
        for (CK_ULONG k = 0; k < *n && k < max; k++)
            out[k] = next();
    } else if (!searched) {
        if (wanted_class == CK_UNAVAILABLE_INFORMATION || wanted_class == CKO_PRIVATE_KEY)
            out[(*n)++] = PRIVATE;
        if (wanted_class == CK_UNAVAILABLE_INFORMATION || wanted_class == CKO_PUBLIC_KEY)
            out[(*n)++] = PUBLIC;
    }
    searched = true;
    return rv();
}

static CK_RV find_final(CK_SESSION_HANDLE s)
{
    (void)s;
    return rv();
}

struct value {
    const void *data;
    size_t len;
};

/* Of what algorithm the token says its keys are. */
static const struct algorithm *kind;

static struct value modulus(void)
{
    static uint8_t bytes[MODULUS_MAX];

    memset(bytes, 0xa5, sizeof bytes);
    bytes[kind->modulus_bits / 8 - 1] = 1;
    return (struct value){bytes, kind->modulus_bits / 8};
}

/* What a well-behaved token says. */
static struct value good_value(CK_OBJECT_HANDLE o, CK_ATTRIBUTE_TYPE type)
{
    static const CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    static const CK_OBJECT_CLASS classes[] = {CKO_PRIVATE_KEY, CKO_PUBLIC_KEY};

    switch (type) {
    case CKA_CLASS: return (struct value){&classes[o % 2], sizeof *classes};
    case CKA_KEY_TYPE: return (struct value){&kind->type, sizeof kind->type};
    case CKA_MODULUS: return modulus();
    case CKA_PUBLIC_EXPONENT: return (struct value){"\1\0\1", 3};
    case CKA_ID: return (struct value){key_id, sizeof key_id};
    case CKA_LABEL: return (struct value){LABEL, sizeof LABEL - 1};
    case CKA_EC_POINT: return (struct value){point, sizeof point};
    case CKA_EC_PARAMS: return (struct value){algorithm_p256.curve->params.data, algorithm_p256.curve->params.len};
    case CKA_KEY_GEN_MECHANISM: return (struct value){&algorithm_p256.generate, sizeof algorithm_p256.generate};
    case CKA_ALLOWED_MECHANISMS: return (struct value){&method_ca.mechanism, sizeof method_ca.mechanism};
    case CKA_COPYABLE: return (struct value){settings.session_copies ? &yes : &no, sizeof yes};
    case CKA_TOKEN: return (struct value){o == COPY ? &no : &yes, sizeof yes};
    case CKA_PRIVATE: case CKA_SENSITIVE: case CKA_SIGN: case CKA_ALWAYS_SENSITIVE: case CKA_NEVER_EXTRACTABLE: case CKA_LOCAL:
    case CKA_VERIFY: return (struct value){&yes, sizeof yes};
    default: return (struct value){&no, sizeof no};
    }
}

static CK_RV get_one(CK_OBJECT_HANDLE o, CK_ATTRIBUTE *a)
{
    struct value v = good_value(o, a->type);
    CK_ULONG room = a->ulValueLen;
    uint8_t dice = next();

    if (dice <= 200 && v.len <= room) {
        memcpy(a->pValue, v.data, v.len);
        a->ulValueLen = v.len;
        return CKR_OK;
    }
    if (dice <= 200) {
        a->ulValueLen = CK_UNAVAILABLE_INFORMATION;
        return CKR_BUFFER_TOO_SMALL;
    }
    if (dice < 210) {
        a->ulValueLen = CK_UNAVAILABLE_INFORMATION;
        return CKR_ATTRIBUTE_TYPE_INVALID;
    }
    fill(a->pValue, room < 80 ? room : 80); /* and any length it likes */
    a->ulValueLen = dice < 230 ? room : dice < 240 ? next() : dice < 250 ? room + next() : CK_UNAVAILABLE_INFORMATION;
    return CKR_OK;
}

static CK_RV get_attributes(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE o, CK_ATTRIBUTE *a, CK_ULONG n)
{
    CK_RV worst = rv(), one;

    (void)s;
    for (CK_ULONG k = 0; k < n; k++)
        if ((one = get_one(o, &a[k])) != CKR_OK)
            worst = one;
    if (n == 1 && worst == CKR_OK && (a->type == CKA_EXTRACTABLE || a->type == CKA_SENSITIVE))
        weak |= a->ulValueLen != 1 || *(CK_BBOOL *)a->pValue != (a->type == CKA_SENSITIVE);
    if (n == 1 && worst == CKR_OK && a->type == CKA_SIGN && o != COPY && *(CK_BBOOL *)a->pValue == CK_TRUE)
        loose = false;
    return worst;
}

static CK_RV sign_init(CK_SESSION_HANDLE s, CK_MECHANISM *m, CK_OBJECT_HANDLE k)
{
    (void)s;
    quick = k == COPY;
    require(m->mechanism == CKM_ECDSA);
    return rv();
}

static void real_signature(const CK_BYTE *digest, CK_ULONG len, uint8_t out[static SIGNATURE_LEN])
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(pair, NULL);
    uint8_t der[128];
    const uint8_t *p = der;
    size_t n = sizeof der;
    ECDSA_SIG *sig;

    require(EVP_PKEY_sign_init(ctx) == 1 && EVP_PKEY_sign(ctx, der, &n, digest, len) == 1);
    sig = d2i_ECDSA_SIG(NULL, &p, (long)n);
    require(sig && BN_bn2binpad(ECDSA_SIG_get0_r(sig), out, 32) == 32 && BN_bn2binpad(ECDSA_SIG_get0_s(sig), out + 32, 32) == 32);
    ECDSA_SIG_free(sig);
    EVP_PKEY_CTX_free(ctx);
}

static CK_RV sign(CK_SESSION_HANDLE s, CK_BYTE *data, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len)
{
    uint8_t dice = next();

    (void)s;
    loose |= quick;
    require(len == 32 && *out_len >= SIGNATURE_LEN);
    real_signature(data, len, out);
    *out_len = SIGNATURE_LEN;
    if (dice > 200)
        out[next() % SIGNATURE_LEN] ^= next();
    if (dice > 220)
        fill(out, SIGNATURE_LEN);
    if (dice > 240)
        *out_len = next();
    return rv();
}

static CK_RV generate_pair(CK_SESSION_HANDLE s, CK_MECHANISM *m, CK_ATTRIBUTE *a, CK_ULONG n, CK_ATTRIBUTE *b, CK_ULONG k, CK_OBJECT_HANDLE *public,
                           CK_OBJECT_HANDLE *private)
{
    CK_RV answer = rv();

    (void)s;
    require(m->mechanism == CKM_EC_KEY_PAIR_GEN && a && b && n && k);
    *public = PUBLIC;
    *private = PRIVATE;
    made |= answer == CKR_OK;
    return answer;
}

static CK_RV destroy(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE o)
{
    (void)s;
    require(o == COPY || (made && (o == PRIVATE || o == PUBLIC))); /* nothing but what this run made */
    return rv();
}

static CK_RV copy_object(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE o, CK_ATTRIBUTE *template, CK_ULONG n, CK_OBJECT_HANDLE *out)
{
    (void)s;
    (void)o;
    require(n == 1 && template->type == CKA_TOKEN && !*(CK_BBOOL *)template->pValue);
    *out = COPY;
    return rv();
}

static CK_RV random_bytes(CK_SESSION_HANDLE s, CK_BYTE *out, CK_ULONG len)
{
    (void)s;
    fill(out, len);
    return rv();
}

static void remove_pin(void)
{
    (void)unlink(settings.pin_file);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    char path[] = "/tmp/fuzz_p11.XXXXXX";
    int fd = mkstemp(path);
    uint8_t *der = NULL;
    int n;

    (void)argc;
    (void)argv;
    require(fd >= 0 && write(fd, "1234\n", 5) == 5 && !close(fd));
    memcpy(settings.pin_file, path, sizeof path);
    memcpy(settings.label, "fuzz", 5);
    (void)atexit(remove_pin);
    memset(&honest, ' ', sizeof honest);
    honest.flags = CKF_TOKEN_INITIALIZED | CKF_RNG;
    pair = EVP_EC_gen("P-256");
    n = i2d_PUBKEY(pair, &der);
    require(n == 91);
    spki = BUF_INIT(SPKI_MAX);
    buf_put(&spki, der, (size_t)n);
    point[0] = 0x04;
    point[1] = 65;
    memcpy(point + 2, der + 26, 65);
    OPENSSL_free(der);
    list = (CK_FUNCTION_LIST){.C_GetInfo = get_info, .C_GetTokenInfo = token_info, .C_OpenSession = open_session, .C_CloseSession = close_session,
                              .C_GetSessionInfo = session_info, .C_Login = login, .C_FindObjectsInit = find_init, .C_FindObjects = find,
                              .C_FindObjectsFinal = find_final, .C_GetAttributeValue = get_attributes, .C_SignInit = sign_init, .C_Sign = sign,
                              .C_GenerateKeyPair = generate_pair, .C_DestroyObject = destroy, .C_CopyObject = copy_object, .C_GenerateRandom = random_bytes};
    return 0;
}

static bool verifies(struct span key, struct span message, const struct buf *signature)
{
    const uint8_t *p = key.data;
    EVP_PKEY *public = d2i_PUBKEY(NULL, &p, (long)key.len);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool good = public && EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, public) == 1 &&
                EVP_DigestVerify(ctx, signature->data, signature->len, message.data, message.len) == 1;

    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(public);
    return good;
}

/* Some signatures, and then a look: for those before the last one too, whatever became of the copy meanwhile. */
static void use_copy(struct token *t, struct key *k, struct fault *f)
{
    struct made m[3];
    bool got[3];

    loose = false;
    for (unsigned n = 0; n < 3; n++)
        got[n] = !key_make(t, k, span_str("message"), &m[n], f);
    if (key_still(t, k, f))
        return;
    require(!loose || !(got[0] || got[1] || got[2]));
    for (unsigned n = 0; n < 3; n++)
        if (got[n] && key_verifies(k, span_of(m[n].digest, sizeof m[n].digest), span_of(m[n].signature, m[n].len))) {
            BUF_AUTO signature = BUF_INIT(128);

            buf_put(&signature, m[n].signature, m[n].len);
            require(verifies(buf_span(&spki), span_str("message"), &signature));
        }
}

static void use_key(struct token *t, struct fault *f)
{
    KEY_AUTO k = {0};

    if (key_open(t, &method_ca, span_of(key_id, sizeof key_id), buf_span(&spki), &k, f))
        return;
    for (unsigned n = 0; n < 3; n++) {
        BUF_AUTO signature = BUF_INIT(128);

        if (!key_sign(t, &k, span_str("message"), &signature, f))
            require(verifies(buf_span(&spki), span_str("message"), &signature));
    }
    (void)!key_probe(t, &k, f);
    use_copy(t, &k, f);
    (void)!key_uncopy(t, &k, f);
    require(!k.copyable);
}

static void make_key(struct token *t, struct fault *f)
{
    BUF_AUTO out = BUF_INIT(SPKI_MAX);
    JSON_AUTO *birth = NULL;

    weak = made = false;
    if (generate_key(t, &method_ca, span_of(key_id, sizeof key_id), LABEL, &out, &birth, f))
        return;
    require(made && !weak && birth && json_is_false(json_object_get(birth, "extractable")) && json_is_true(json_object_get(birth, "sensitive")));
}

/* An RSA key with whatever numbers: refused, or one of exactly this size. */
static void read_rsa(struct token *t, struct fault *f)
{
    BUF_AUTO out = BUF_INIT(SPKI_MAX);
    const uint8_t *p;
    EVP_PKEY *key;

    kind = algorithm_at(2 + next() % 3);
    if (!objects_read(t, t->objects, f) && !key_public(t, kind, span_of(key_id, sizeof key_id), &out, f)) {
        p = out.data;
        key = d2i_PUBKEY(NULL, &p, (long)out.len);
        require(key && (CK_ULONG)EVP_PKEY_get_bits(key) == kind->modulus_bits);
        EVP_PKEY_free(key);
    }
    kind = &algorithm_p256;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct token t = {.settings = &settings, .f = &list, .slot_id = 1, .session = 1, .sessions = 1, .epoch = 1, .info = honest, .objects = objects_new(),
                      .description = json_object()};
    JSON_AUTO *listed = NULL;
    struct fault f = {0};
    struct object o;

    input = data;
    left = size;
    logged_in = true;
    looked = false;
    kind = &algorithm_p256;
    settings.session_copies = next() & 1 ? SETTINGS_ON : SETTINGS_OFF;
    (void)!objects_read(&t, t.objects, &f);
    if (!objects_list(&t, &listed, &f))
        require(json_is_array(listed));
    (void)!object_find(&t, CKO_PRIVATE_KEY, CKK_EC, span_of(key_id, sizeof key_id), &o, &f);
    use_key(&t, &f);
    make_key(&t, &f);
    (void)!token_probe(&t, &f);
    use_key(&t, &f);
    read_rsa(&t, &f);
    objects_free(t.objects);
    json_decref(t.description);
    return 0;
}
