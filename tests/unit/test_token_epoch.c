/* Tests of kmsd/token/sign.c across logins: a token whose object handles mean something else after every C_Login. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/ec.h>
#include <openssl/x509.h>

#include "base/fsutil.h"
#include "kmsd/token/key.h"

#define KEYS 2
#define OBJECTS (2 * KEYS)
#define POINT_LEN 67 /* OCTET STRING of the uncompressed point */

static const uint8_t ids[KEYS][KEY_ID_LEN] = {"0123456789abcdef", "fedcba9876543210"};
static EVP_PKEY *pair[KEYS];
static uint8_t point[KEYS][POINT_LEN];
static struct buf spki[KEYS];
static struct token_settings settings;

/* The token: objects 0…KEYS-1 are the private keys, the others their public halves. */
static struct {
    unsigned logins, searches, signatures, signer;
    bool logged_in, hidden;     /* hidden: nothing is found any more */
    unsigned swapped;           /* 1: each identifier belongs to the other pair */
    CK_RV once;                 /* what the next C_SignInit answers */
    bool forget;                /* and with it every session is logged out */
    CK_RV refused;              /* what C_Login answers */
    CK_RV random, random_after; /* what C_GenerateRandom answers before and after a refused login */
    bool making;                /* the first key does not say yet that the token made it */
    int64_t found;              /* when the last search was begun */
    int64_t quickest;           /* from a search to a look at the first key */
    bool anchor;                /* there is a data object besides, which another process may be writing */
    CK_OBJECT_HANDLE hits[OBJECTS + 1], signing;
    CK_ULONG n_hits, at;
} fake;

/* Every login deals the handles anew: the old one of a key is its neighbour's, which are the other private key and the public ones. */
static CK_OBJECT_HANDLE handle_of(unsigned object)
{
    return 1 + (object + fake.logins) % OBJECTS;
}

static unsigned object_of(CK_OBJECT_HANDLE handle)
{
    return (unsigned)((handle - 1 + OBJECTS - fake.logins % OBJECTS) % OBJECTS);
}

#define ANCHOR 1000 /* its handle */

static bool finds_anchor(const CK_ATTRIBUTE *a, CK_ULONG n)
{
    static const CK_OBJECT_CLASS data = CKO_DATA;

    return fake.anchor && (!n || (n == 1 && a->type == CKA_CLASS && !memcmp(a->pValue, &data, sizeof data)));
}

static CK_RV get_info(CK_INFO *info)
{
    memset(info, ' ', sizeof *info);
    return CKR_OK;
}

static CK_RV token_info(CK_SLOT_ID slot, CK_TOKEN_INFO *info)
{
    (void)slot;
    memset(info, ' ', sizeof *info);
    info->flags = CKF_TOKEN_INITIALIZED | CKF_RNG;
    return CKR_OK;
}

static CK_RV open_session(CK_SLOT_ID slot, CK_FLAGS flags, void *app, CK_NOTIFY notify, CK_SESSION_HANDLE *out)
{
    (void)slot;
    (void)flags;
    (void)app;
    (void)notify;
    *out = 7;
    return CKR_OK;
}

static CK_RV close_session(CK_SESSION_HANDLE s)
{
    (void)s;
    return CKR_OK;
}

static CK_RV session_info(CK_SESSION_HANDLE s, CK_SESSION_INFO *info)
{
    (void)s;
    *info = (CK_SESSION_INFO){.state = fake.logged_in ? CKS_RW_USER_FUNCTIONS : CKS_RW_PUBLIC_SESSION};
    return CKR_OK;
}

static CK_RV login(CK_SESSION_HANDLE s, CK_USER_TYPE who, CK_BYTE *pin, CK_ULONG len)
{
    (void)s;
    assert_true(who == CKU_USER && len == 4 && !memcmp(pin, "1234", 4));
    fake.logins++;
    fake.random = fake.refused == CKR_OK ? fake.random : fake.random_after;
    fake.logged_in = fake.refused == CKR_OK;
    return fake.refused;
}

static CK_RV give_random(CK_SESSION_HANDLE s, CK_BYTE *out, CK_ULONG len)
{
    (void)s;
    memset(out, 0, len);
    return fake.random;
}

struct value {
    const void *data;
    size_t len;
};

static struct value value_of(unsigned object, CK_ATTRIBUTE_TYPE type)
{
    static const CK_OBJECT_CLASS classes[] = {CKO_PRIVATE_KEY, CKO_PUBLIC_KEY};
    static const CK_BBOOL flags[] = {CK_TRUE, CK_FALSE};
    unsigned key = object % KEYS;

    switch (type) {
    case CKA_LOCAL: return (struct value){&flags[fake.making && !object], sizeof *flags};
    case CKA_CLASS: return (struct value){&classes[object / KEYS], sizeof *classes};
    case CKA_KEY_TYPE: return (struct value){&algorithm_p256.type, sizeof algorithm_p256.type};
    case CKA_ID: return (struct value){ids[(key + fake.swapped) % KEYS], KEY_ID_LEN};
    case CKA_LABEL: return (struct value){"kmsd:release:test:1", 19};
    case CKA_EC_POINT: return (struct value){point[key], POINT_LEN};
    case CKA_EC_PARAMS: return (struct value){algorithm_p256.curve->params.data, algorithm_p256.curve->params.len};
    default: fail_msg("attribute 0x%lx", (unsigned long)type);
    }
    return (struct value){0};
}

static bool matches(unsigned object, const CK_ATTRIBUTE *a, CK_ULONG n)
{
    for (CK_ULONG k = 0; k < n; k++) {
        struct value v = value_of(object, a[k].type);

        if (v.len != a[k].ulValueLen || memcmp(v.data, a[k].pValue, v.len))
            return false;
    }
    return true;
}

static CK_RV find_init(CK_SESSION_HANDLE s, CK_ATTRIBUTE *a, CK_ULONG n)
{
    (void)s;
    fake.searches++;
    fake.found = clock_boot_us();
    fake.n_hits = fake.at = 0;
    for (unsigned object = 0; object < OBJECTS && !fake.hidden; object++)
        if (matches(object, a, n))
            fake.hits[fake.n_hits++] = handle_of(object);
    if (finds_anchor(a, n))
        fake.hits[fake.n_hits++] = ANCHOR;
    return CKR_OK;
}

static CK_RV find(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE *out, CK_ULONG max, CK_ULONG *n)
{
    (void)s;
    for (*n = 0; *n < max && fake.at < fake.n_hits; ++*n)
        out[*n] = fake.hits[fake.at++];
    return CKR_OK;
}

static CK_RV find_final(CK_SESSION_HANDLE s)
{
    (void)s;
    return CKR_OK;
}

static CK_RV get_attributes(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE o, CK_ATTRIBUTE *a, CK_ULONG n)
{
    (void)s;
    if (o == ANCHOR)
        fail_msg("a lane that signs asks for the anchor");
    if (!object_of(o) && clock_boot_us() - fake.found < fake.quickest)
        fake.quickest = clock_boot_us() - fake.found;
    for (CK_ULONG k = 0; k < n; k++) {
        struct value v = value_of(object_of(o), a[k].type);

        if (v.len > a[k].ulValueLen)
            return CKR_BUFFER_TOO_SMALL;
        memcpy(a[k].pValue, v.data, v.len);
        a[k].ulValueLen = v.len;
    }
    return CKR_OK;
}

static CK_RV sign_init(CK_SESSION_HANDLE s, CK_MECHANISM *m, CK_OBJECT_HANDLE key)
{
    CK_RV rv = fake.once;

    (void)s;
    assert_int_equal(m->mechanism, CKM_ECDSA);
    fake.once = CKR_OK;
    if (rv != CKR_OK) {
        fake.logged_in = !fake.forget;
        return rv;
    }
    if (!fake.logged_in)
        return CKR_USER_NOT_LOGGED_IN;
    fake.signing = key;
    return object_of(key) < KEYS ? CKR_OK : CKR_KEY_HANDLE_INVALID;
}

static CK_RV sign(CK_SESSION_HANDLE s, CK_BYTE *data, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len)
{
    uint8_t der[128];
    const uint8_t *p = der;
    size_t n = sizeof der;
    ECDSA_SIG *sig;
    EVP_PKEY_CTX *ctx;

    (void)s;
    fake.signer = object_of(fake.signing);
    fake.signatures++;
    ctx = EVP_PKEY_CTX_new(pair[fake.signer], NULL);
    assert_true(EVP_PKEY_sign_init(ctx) == 1 && EVP_PKEY_sign(ctx, der, &n, data, len) == 1);
    sig = d2i_ECDSA_SIG(NULL, &p, (long)n);
    assert_true(sig && BN_bn2binpad(ECDSA_SIG_get0_r(sig), out, 32) == 32 && BN_bn2binpad(ECDSA_SIG_get0_s(sig), out + 32, 32) == 32);
    *out_len = 64;
    ECDSA_SIG_free(sig);
    EVP_PKEY_CTX_free(ctx);
    return CKR_OK;
}

static CK_FUNCTION_LIST list = {.C_GetInfo = get_info, .C_GetTokenInfo = token_info, .C_OpenSession = open_session, .C_CloseSession = close_session,
                                .C_GetSessionInfo = session_info, .C_Login = login, .C_FindObjectsInit = find_init, .C_FindObjects = find,
                                .C_FindObjectsFinal = find_final, .C_GetAttributeValue = get_attributes, .C_SignInit = sign_init, .C_Sign = sign,
                                .C_GenerateRandom = give_random};
static struct token t;
static struct key key;
static struct fault f;

static int start(void **state)
{
    (void)state;
    memset(&fake, 0, sizeof fake);
    fake.logged_in = true;
    fake.signer = KEYS;
    t = (struct token){.settings = &settings, .f = &list, .slot_id = 1, .session = 7, .epoch = 1, .objects = objects_new()};
    token_info(1, &t.info);
    if (objects_read(&t, t.objects, &f) || key_open(&t, &method_ca, span_of(ids[0], KEY_ID_LEN), buf_span(&spki[0]), &key, &f))
        return -1;
    fake.searches = 0;
    return 0;
}

static int stop(void **state)
{
    (void)state;
    key_clear(&key);
    objects_free(t.objects);
    return 0;
}

static bool verifies(const struct buf *signature)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool good = EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, pair[0]) == 1 &&
                EVP_DigestVerify(ctx, signature->data, signature->len, (const uint8_t *)"message", 7) == 1;

    EVP_MD_CTX_free(ctx);
    return good;
}

/* One signature, which must be of the first key; the other must not even be asked. */
static void signs(void)
{
    BUF_AUTO signature = BUF_INIT(128);
    unsigned before = fake.signatures;

    if (key_sign(&t, &key, span_str("message"), &signature, &f))
        fail_msg("%s (the token signed with key %u)", f.reason, fake.signer);
    assert_true(verifies(&signature));
    assert_int_equal(fake.signer, 0);
    assert_int_equal(fake.signatures, before + 1);
}

static void fails(enum lane_error class, const char *why)
{
    BUF_AUTO signature = BUF_INIT(128);
    unsigned before = fake.signatures;

    assert_int_equal(key_sign(&t, &key, span_str("message"), &signature, &f), -1);
    if (f.class != class || !strstr(f.reason, why))
        fail_msg("class %d: %s", (int)f.class, f.reason);
    assert_int_equal(signature.len, 0);
    assert_int_equal(fake.signatures, before);
}

/* Within one login the handle holds: nothing is looked for. */
static void one_login(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 5; n++)
        signs();
    assert_true(fake.searches == 0 && fake.logins == 0);
}

/* SoftHSM writes into an object that is read while another process makes it. */
static void anchor_left_alone(void **state)
{
    (void)state;
    fake.anchor = fake.forget = true;
    fake.once = CKR_USER_NOT_LOGGED_IN;
    signs();
    assert_int_equal(fake.logins, 1);
    assert_int_equal(t.objects->n, OBJECTS);
}

/* A key that another process is making is left alone for a moment; a token without one costs no time. */
static void key_being_made(void **state)
{
    int64_t begun;

    (void)state;
    for (unsigned n = 0; n < 2; n++) {
        fake.making = !n;
        fake.forget = true;
        fake.once = CKR_USER_NOT_LOGGED_IN;
        fake.quickest = INT64_MAX;
        begun = clock_boot_us();
        signs();
        assert_true(n ? clock_boot_us() - begun < 100000 : fake.quickest >= 100000);
        assert_int_equal(t.objects->n, OBJECTS);
    }
}

/* The session was logged out behind our back: a new login, and with it new handles. */
static void logged_out(void **state)
{
    (void)state;
    for (unsigned n = 1; n <= 2 * OBJECTS; n++) {
        fake.once = CKR_USER_NOT_LOGGED_IN;
        fake.forget = true;
        signs();
        assert_int_equal(fake.logins, n);
        signs();
        assert_int_equal(fake.logins, n);
    }
}

static void handle_refused(void **state)
{
    static const CK_RV values[] = {CKR_KEY_HANDLE_INVALID, CKR_OBJECT_HANDLE_INVALID};

    (void)state;
    for (unsigned n = 0; n < 2; n++)
        for (int forget = 0; forget < 2; forget++) {
            unsigned epoch = t.epoch;

            fake.once = values[n];
            fake.forget = forget;
            signs();
            assert_int_equal(t.epoch, epoch + 1);
        }
}

/* Another key stands under the identifier since: it is never used. */
static void other_key(void **state)
{
    (void)state;
    fake.once = CKR_USER_NOT_LOGGED_IN;
    fake.forget = true;
    fake.swapped = 1;
    fails(LANE_KEY, "not the recorded one");
    fails(LANE_KEY, "not the recorded one");
    fake.swapped = 0;
    t.epoch++;
    signs();
}

static void key_gone(void **state)
{
    (void)state;
    fake.once = CKR_USER_NOT_LOGGED_IN;
    fake.forget = true;
    fake.hidden = true;
    fails(LANE_TOKEN, "not there any more");
}

/* A PIN that is refused is a matter for people, unless the token that answered before does not any more. One that does not answer gets no PIN. */
static void login_refused(void **state)
{
    static const struct {
        CK_RV before, refused, after;
        enum lane_error class;
        const char *why;
        unsigned tries;
    } cases[] = {
        {CKR_OK, CKR_PIN_INCORRECT, CKR_OK, LANE_HUMAN, "refused the PIN", 1},
        {CKR_OK, CKR_PIN_INCORRECT, CKR_GENERAL_ERROR, LANE_TOKEN, "went away", 1},
        {CKR_OK, CKR_PIN_LOCKED, CKR_DEVICE_REMOVED, LANE_TOKEN, "went away", 1},
        {CKR_OK, CKR_PIN_INCORRECT, CKR_USER_NOT_LOGGED_IN, LANE_HUMAN, "refused the PIN", 1},
        {CKR_USER_NOT_LOGGED_IN, CKR_PIN_INCORRECT, CKR_GENERAL_ERROR, LANE_HUMAN, "refused the PIN", 1},
        {CKR_RANDOM_NO_RNG, CKR_PIN_INCORRECT, CKR_GENERAL_ERROR, LANE_HUMAN, "refused the PIN", 1},
        {CKR_GENERAL_ERROR, CKR_PIN_INCORRECT, CKR_GENERAL_ERROR, LANE_TOKEN, "does not work", 0},
        {CKR_TOKEN_NOT_PRESENT, CKR_OK, CKR_OK, LANE_TOKEN, "does not work", 0},
        {CKR_OK, CKR_DEVICE_ERROR, CKR_OK, LANE_TOKEN, "does not work", 1},
    };

    (void)state;
    for (size_t n = 0; n < sizeof cases / sizeof *cases; n++) {
        unsigned before = fake.logins;

        fake.once = CKR_USER_NOT_LOGGED_IN;
        fake.forget = true;
        fake.random = cases[n].before;
        fake.refused = cases[n].refused;
        fake.random_after = cases[n].after;
        fails(cases[n].class, cases[n].why);
        assert_int_equal(fake.logins, before + cases[n].tries);
        fake.logged_in = true;
        fake.random = fake.refused = CKR_OK;
        signs();
    }
}

static void remove_pin(void)
{
    (void)unlink(settings.pin_file);
}

static int make(void **state)
{
    char path[] = "/tmp/test_token_epoch.XXXXXX";
    int fd = mkstemp(path);

    (void)state;
    if (fd < 0 || write(fd, "1234\n", 5) != 5 || close(fd) || atexit(remove_pin))
        return -1;
    memcpy(settings.pin_file, path, sizeof path);
    memcpy(settings.label, "test", 5);
    for (unsigned n = 0; n < KEYS; n++) {
        uint8_t *der = NULL;

        pair[n] = EVP_EC_gen("P-256");
        spki[n] = BUF_INIT(SPKI_MAX);
        if (!pair[n] || i2d_PUBKEY(pair[n], &der) != 91)
            return -1;
        buf_put(&spki[n], der, 91);
        point[n][0] = 0x04;
        point[n][1] = 65;
        memcpy(point[n] + 2, der + 26, 65);
        OPENSSL_free(der);
    }
    return 0;
}

static int drop(void **state)
{
    (void)state;
    for (unsigned n = 0; n < KEYS; n++) {
        EVP_PKEY_free(pair[n]);
        buf_free(&spki[n]);
    }
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_login, start, stop), cmocka_unit_test_setup_teardown(logged_out, start, stop),
        cmocka_unit_test_setup_teardown(handle_refused, start, stop), cmocka_unit_test_setup_teardown(other_key, start, stop),
        cmocka_unit_test_setup_teardown(key_gone, start, stop), cmocka_unit_test_setup_teardown(anchor_left_alone, start, stop),
        cmocka_unit_test_setup_teardown(key_being_made, start, stop), cmocka_unit_test_setup_teardown(login_refused, start, stop)};

    return cmocka_run_group_tests(tests, make, drop);
}
