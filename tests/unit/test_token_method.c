/* Tests of kmsd/token/method.c, algorithm.c, public.c, verify.c and sign.c: every algorithm with every scheme, over a token of software keys
 * that does what a mechanism says, or nearly. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "base/scheme.h"
#include "kmsd/token/key.h"

#define STATEMENT "DSSEv1 28 application/vnd.in-toto+json 2 {}"
#define PUBLIC 1
#define PRIVATE 2

static const uint8_t id[KEY_ID_LEN] = "0123456789abcdef";
static struct fault f;

/* The token: one key pair, and how its answers differ from what was asked. */
static struct {
    EVP_PKEY *pair;
    const struct algorithm *algorithm;
    CK_MECHANISM_TYPE mechanism;
    CK_RSA_PKCS_PSS_PARAMS pss;
    CK_ULONG salt;               /* of signatures, where it is not what was asked */
    CK_BYTE cut;                 /* bytes of the input that are left out at its begin */
    bool short_answer, bare_point, leading_zero;
} fake;

static CK_RV sign_init(CK_SESSION_HANDLE s, CK_MECHANISM *m, CK_OBJECT_HANDLE key)
{
    (void)s;
    assert_int_equal(key, PRIVATE);
    fake.mechanism = m->mechanism;
    if (m->mechanism == CKM_RSA_PKCS_PSS) {
        assert_int_equal(m->ulParameterLen, sizeof fake.pss);
        memcpy(&fake.pss, m->pParameter, sizeof fake.pss);
    } else {
        assert_true(!m->pParameter && !m->ulParameterLen);
    }
    return CKR_OK;
}

static size_t sign_ecdsa(struct span in, uint8_t *out)
{
    int half = EVP_PKEY_get_bits(fake.pair) / 8;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(fake.pair, NULL);
    uint8_t der[128];
    const uint8_t *p = der;
    size_t n = sizeof der;
    ECDSA_SIG *sig;

    assert_true(EVP_PKEY_sign_init(ctx) == 1 && EVP_PKEY_sign(ctx, der, &n, in.data, in.len) == 1);
    sig = d2i_ECDSA_SIG(NULL, &p, (long)n);
    assert_true(sig && BN_bn2binpad(ECDSA_SIG_get0_r(sig), out, half) == half && BN_bn2binpad(ECDSA_SIG_get0_s(sig), out + half, half) == half);
    ECDSA_SIG_free(sig);
    EVP_PKEY_CTX_free(ctx);
    return 2 * (size_t)half;
}

static size_t sign_rsa(struct span in, uint8_t *out)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(fake.pair, NULL);
    bool pss = fake.mechanism == CKM_RSA_PKCS_PSS;
    size_t n = RAW_SIGNATURE_MAX;

    assert_int_equal(EVP_PKEY_sign_init(ctx), 1);
    assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(ctx, pss ? RSA_PKCS1_PSS_PADDING : RSA_PKCS1_PADDING), 1);
    if (pss) {
        assert_true(fake.pss.hashAlg == CKM_SHA256 && fake.pss.mgf == CKG_MGF1_SHA256 && fake.pss.sLen == 32);
        assert_int_equal(EVP_PKEY_CTX_set_signature_md(ctx, EVP_sha256()), 1);
        assert_int_equal(EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, (int)(fake.salt ? fake.salt : fake.pss.sLen)), 1);
    }
    assert_int_equal(EVP_PKEY_sign(ctx, out, &n, in.data, in.len), 1);
    EVP_PKEY_CTX_free(ctx);
    return n;
}

static size_t sign_eddsa(struct span in, uint8_t *out)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    size_t n = 64;

    assert_true(EVP_DigestSignInit(ctx, NULL, NULL, NULL, fake.pair) == 1 && EVP_DigestSign(ctx, out, &n, in.data, in.len) == 1);
    EVP_MD_CTX_free(ctx);
    return n;
}

static CK_RV sign(CK_SESSION_HANDLE s, CK_BYTE *data, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len)
{
    struct span in = span_of(data + fake.cut, len - fake.cut);

    (void)s;
    assert_true(*out_len >= RAW_SIGNATURE_MAX);
    *out_len = fake.mechanism == CKM_ECDSA ? sign_ecdsa(in, out) : fake.mechanism == CKM_EDDSA ? sign_eddsa(in, out) : sign_rsa(in, out);
    *out_len -= fake.short_answer;
    return CKR_OK;
}

static CK_RV give(CK_ATTRIBUTE *a, const uint8_t *data, size_t len)
{
    if (len > a->ulValueLen)
        return CKR_BUFFER_TOO_SMALL;
    memcpy(a->pValue, data, len);
    a->ulValueLen = len;
    return CKR_OK;
}

static CK_RV give_number(CK_ATTRIBUTE *a, const char *name)
{
    uint8_t bytes[1 + MODULUS_MAX] = {0};
    BIGNUM *n = NULL;
    int len;

    assert_int_equal(EVP_PKEY_get_bn_param(fake.pair, name, &n), 1);
    len = BN_bn2bin(n, bytes + fake.leading_zero) + fake.leading_zero;
    BN_free(n);
    return give(a, bytes, (size_t)len);
}

static CK_RV give_point(CK_ATTRIBUTE *a)
{
    uint8_t point[2 + 97] = {0x04};
    size_t len = 0;
    bool curve = EVP_PKEY_get_octet_string_param(fake.pair, OSSL_PKEY_PARAM_PUB_KEY, point + 2, sizeof point - 2, &len) == 1;

    assert_true(curve);
    point[1] = (uint8_t)len;
    return fake.bare_point ? give(a, point + 2, len) : give(a, point, len + 2);
}

static CK_RV get_attributes(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE o, CK_ATTRIBUTE *a, CK_ULONG n)
{
    const struct curve *c = fake.algorithm->curve;
    CK_RV rv = CKR_OK;

    (void)s;
    assert_int_equal(o, PUBLIC);
    for (CK_ULONG k = 0; k < n && rv == CKR_OK; k++)
        switch (a[k].type) {
        case CKA_MODULUS: rv = give_number(&a[k], OSSL_PKEY_PARAM_RSA_N); break;
        case CKA_PUBLIC_EXPONENT: rv = give_number(&a[k], OSSL_PKEY_PARAM_RSA_E); break;
        case CKA_EC_POINT: rv = give_point(&a[k]); break;
        case CKA_EC_PARAMS: rv = give(&a[k], c->params.data, c->params.len); break;
        default: rv = CKR_ATTRIBUTE_TYPE_INVALID;
        }
    return rv;
}

static CK_RV find_init(CK_SESSION_HANDLE s, CK_ATTRIBUTE *a, CK_ULONG n)
{
    (void)s;
    (void)a;
    (void)n;
    return CKR_OK;
}

static CK_RV find(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE *out, CK_ULONG max, CK_ULONG *n)
{
    (void)s;
    (void)out;
    (void)max;
    *n = 0;
    return CKR_OK;
}

static CK_RV session_call(CK_SESSION_HANDLE s)
{
    (void)s;
    return CKR_OK;
}

static CK_RV token_info(CK_SLOT_ID slot, CK_TOKEN_INFO *info)
{
    (void)slot;
    *info = (CK_TOKEN_INFO){.flags = CKF_TOKEN_INITIALIZED};
    return CKR_OK;
}

static CK_FUNCTION_LIST list = {.C_SignInit = sign_init, .C_Sign = sign, .C_GetAttributeValue = get_attributes, .C_FindObjectsInit = find_init,
                                .C_FindObjects = find, .C_FindObjectsFinal = session_call, .C_GetTokenInfo = token_info};
static const struct token_settings settings;
static struct token t = {.settings = &settings, .f = &list, .session = 7, .sessions = 1, .epoch = 1};

/* The pair and an index of the token's objects that has both halves. */
static void put_key(EVP_PKEY *pair, const struct algorithm *a)
{
    static const CK_OBJECT_CLASS classes[] = {[PUBLIC] = CKO_PUBLIC_KEY, [PRIVATE] = CKO_PRIVATE_KEY};

    EVP_PKEY_free(fake.pair);
    memset(&fake, 0, sizeof fake);
    assert_non_null(pair);
    fake.pair = pair;
    fake.algorithm = a;
    objects_free(t.objects);
    t.objects = objects_new();
    t.objects->list = calloc(2, sizeof *t.objects->list);
    t.objects->n = t.objects->cap = 2;
    t.objects->epoch = 1;
    for (unsigned h = PUBLIC; h <= PRIVATE; h++) {
        struct object *o = &t.objects->list[h - 1];

        *o = (struct object){.handle = h, .class = classes[h], .type = a->type, .id_len = sizeof id};
        memcpy(o->id, id, sizeof id);
    }
}

static EVP_PKEY *make_pair(const struct algorithm *a)
{
    if (a->type == CKK_RSA)
        return EVP_RSA_gen((unsigned)a->modulus_bits);
    return a == &algorithm_ed25519 ? EVP_PKEY_Q_keygen(NULL, NULL, "ED25519") : EVP_EC_gen(a == &algorithm_p256 ? "P-256" : "P-384");
}

static int free_all(void **state)
{
    (void)state;
    EVP_PKEY_free(fake.pair);
    fake.pair = NULL;
    objects_free(t.objects);
    t.objects = NULL;
    return 0;
}

static void open_key(const struct method *m, struct key *k)
{
    BUF_AUTO spki = BUF_INIT(SPKI_MAX);
    uint8_t *der = NULL;
    int len = i2d_PUBKEY(fake.pair, &der);

    assert_int_equal(key_public(&t, m->algorithm, span_of(id, sizeof id), &spki, &f), 0);
    assert_true(len > 0 && span_eq(buf_span(&spki), span_of(der, (size_t)len)));
    OPENSSL_free(der);
    assert_int_equal(key_open(&t, m, span_of(id, sizeof id), buf_span(&spki), k, &f), 0);
}

/* What others say of the signature: the whole chain from the message on, with nothing of verify.c. */
static bool judged(const struct method *m, struct span message, const struct buf *signature)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pkey = NULL;
    bool good = EVP_DigestVerifyInit(ctx, &pkey, m->hash ? m->hash->md() : NULL, NULL, fake.pair) == 1;

    if (m->mechanism == CKM_RSA_PKCS_PSS)
        good = good && EVP_PKEY_CTX_set_rsa_padding(pkey, RSA_PKCS1_PSS_PADDING) == 1 &&
               EVP_PKEY_CTX_set_rsa_pss_saltlen(pkey, RSA_PSS_SALTLEN_DIGEST) == 1;
    good = good && EVP_DigestVerify(ctx, signature->data, signature->len, message.data, message.len) == 1;
    EVP_MD_CTX_free(ctx);
    return good;
}

/* The scheme's input for this message. */
static struct span input_for(const struct method *m, struct span message, uint8_t digest[static HASH_MAX])
{
    if (m->input != INPUT_DIGEST)
        return message;
    m->hash->run(message.data, message.len, digest);
    return span_of(digest, m->hash->len);
}

static int sign_with(struct key *k, struct buf *signature)
{
    uint8_t digest[HASH_MAX];

    return key_sign(&t, k, input_for(k->method, span_str(STATEMENT), digest), signature, &f);
}

static void refuses(struct key *k, enum lane_error class, struct span input)
{
    BUF_AUTO signature = BUF_INIT(RAW_SIGNATURE_MAX);

    assert_int_equal(key_sign(&t, k, input, &signature, &f), -1);
    assert_true(f.class == class && !signature.len);
}

static void takes_its_input_only(struct key *k)
{
    static const uint8_t zeros[64];

    for (size_t len = 0; len <= sizeof zeros; len++)
        if (k->method->input == INPUT_STATEMENT || (k->method->input == INPUT_DIGEST && len != k->method->hash->len))
            refuses(k, LANE_INPUT, span_of(zeros, len));
    if (k->method->input == INPUT_DIGEST)
        refuses(k, LANE_INPUT, span_str(STATEMENT));
}

static void nearly_right(struct key *k)
{
    BUF_AUTO signature = BUF_INIT(RAW_SIGNATURE_MAX);

    fake.short_answer = true;
    assert_true(sign_with(k, &signature) && f.class == LANE_VERIFY);
    fake.short_answer = false;
    if (k->method->mechanism == CKM_RSA_PKCS_PSS) {
        for (fake.salt = 31; fake.salt <= 33; fake.salt += 2)
            assert_true(sign_with(k, &signature) && f.class == LANE_VERIFY);
        fake.salt = 0;
    } else {
        fake.cut = k->method->mechanism == CKM_RSA_PKCS ? 19 : 1; /* RSA: the digest without its DigestInfo */
        assert_true(sign_with(k, &signature) && f.class == LANE_VERIFY);
        fake.cut = 0;
    }
    assert_int_equal(signature.len, 0);
}

static void signs_with(const struct method *m)
{
    KEY_AUTO k = {0};
    BUF_AUTO signature = BUF_INIT(RAW_SIGNATURE_MAX);
    bool adds = true;

    open_key(m, &k);
    if (sign_with(&k, &signature))
        fail_msg("%s %s: %s", m->algorithm->name, m->mechanism_name, f.reason);
    assert_true(judged(m, span_str(STATEMENT), &signature) && !judged(m, span_str("x"), &signature));
    assert_int_equal(key_probe(&t, &k, &f), 0);
    if (m->mechanism == CKM_RSA_PKCS)
        assert_true(!key_adds_digest_info(&t, &k, &adds, &f) && !adds);
    takes_its_input_only(&k);
    nearly_right(&k);
    signature.len = 0;
    assert_int_equal(sign_with(&k, &signature), 0);
}

/* RSA-4096 alone is left to the system tests: its keys take seconds. */
static void every_method(void **state)
{
    static const char *const names[] = {"statement", "digest", "digest-pkcs1"};
    const struct algorithm *a;

    (void)state;
    for (size_t n = 0; (a = algorithm_at(n)); n++) {
        if (a == &algorithm_rsa_4096)
            continue;
        put_key(make_pair(a), a);
        for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
            const struct method *m = method_find(span_str(a->name), span_str(names[k]));

            if (m)
                signs_with(m);
        }
    }
    put_key(make_pair(&algorithm_p256), &algorithm_p256);
    signs_with(&method_ca);
    put_key(make_pair(&algorithm_ed25519), &algorithm_ed25519);
    signs_with(&method_checkpoint);
}

/* Signatures that are judged together: each stands for itself, and what the quick way does not know for good OpenSSL still accepts. */
static void judged_together(void **state)
{
    const struct method *m = method_find(span_str("p256"), span_str("statement"));
    struct p256_batch *batch = p256_batch_new();
    struct p256_key *right;
    struct made some[6];
    EVP_PKEY *other = make_pair(&algorithm_p256);
    KEY_AUTO k = {0}, p384 = {0};

    (void)state;
    put_key(make_pair(&algorithm_p256), &algorithm_p256);
    open_key(m, &k);
    assert_true(k.p256 && batch);
    for (size_t n = 0; n < 6; n++)
        assert_int_equal(key_make(&t, &k, span_str(STATEMENT), &some[n], &f), 0);
    some[1].digest[3] ^= 4;
    some[2].signature[some[2].len - 1] ^= 1;
    some[4].len--;
    keys_judge(batch, some, 6);
    for (size_t n = 0; n < 6; n++)
        assert_int_equal(some[n].good, n != 1 && n != 2 && n != 4);
    right = k.p256;
    k.p256 = p256_key_new(other);
    keys_judge(batch, some, 6);
    for (size_t n = 0; n < 6; n++)
        assert_int_equal(some[n].good, n != 1 && n != 2 && n != 4);
    p256_key_free(k.p256);
    k.p256 = right;
    assert_true(key_make(&t, &k, span_str("x"), &some[0], &f) && f.class == LANE_INPUT);
    fake.short_answer = true;
    assert_true(key_make(&t, &k, span_str(STATEMENT), &some[0], &f) && f.class == LANE_VERIFY);
    put_key(make_pair(&algorithm_p384), &algorithm_p384);
    open_key(method_find(span_str("p384"), span_str("digest")), &p384);
    assert_null(p384.p256);
    EVP_PKEY_free(other);
    p256_batch_free(batch);
}

/* The lane's table and the one of everybody else say the same. */
static void tables_agree(void **state)
{
    static const char *const names[] = {"statement", "digest", "digest-pkcs1", "raw", ""};
    const struct algorithm *a;
    size_t hits = 0, rows = 0;

    (void)state;
    while (scheme_at(rows))
        rows++;
    for (size_t n = 0; (a = algorithm_at(n)); n++)
        for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
            const struct method *m = method_find(span_str(a->name), span_str(names[k]));
            const struct scheme *s = scheme_find(a->name, names[k]);

            assert_int_equal(m != NULL, s != NULL);
            if (!m)
                continue;
            hits++;
            assert_ptr_equal(m->algorithm, a);
            assert_int_equal(m->input, s->statement ? INPUT_STATEMENT : INPUT_DIGEST);
            assert_int_equal(m->hash ? m->hash->len : 0, s->hash_len);
            assert_int_equal(m->mechanism == CKM_RSA_PKCS, s->pkcs1);
            assert_int_equal(m->mechanism == CKM_ECDSA, s->ecdsa);
        }
    assert_int_equal(hits, rows);
    assert_null(method_find(span_str("p521"), span_str("statement")));
    assert_null(method_find(span_str(""), span_str("")));
}

static void not_of(const struct algorithm *a)
{
    BUF_AUTO spki = BUF_INIT(SPKI_MAX);

    assert_int_equal(key_public(&t, a, span_of(id, sizeof id), &spki, &f), -1);
    assert_true(f.class == LANE_KEY && !spki.len);
}

/* As tokens write public keys, and what is a key of another kind. */
static void public_halves(void **state)
{
    KEY_AUTO p384 = {0}, rsa = {0};
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    EVP_PKEY *three = NULL;
    BIGNUM *e = BN_new();

    (void)state;
    put_key(make_pair(&algorithm_p384), &algorithm_p384);
    fake.bare_point = true;
    open_key(method_find(span_str("p384"), span_str("digest")), &p384);
    not_of(&algorithm_p256);
    put_key(make_pair(&algorithm_rsa_2048), &algorithm_rsa_2048);
    fake.leading_zero = true;
    open_key(method_find(span_str("rsa-2048"), span_str("digest")), &rsa);
    not_of(&algorithm_rsa_3072);
    put_key(EVP_RSA_gen(2047), &algorithm_rsa_2048);
    not_of(&algorithm_rsa_2048);
    assert_true(BN_set_word(e, 3) == 1 && EVP_PKEY_keygen_init(ctx) == 1 && EVP_PKEY_CTX_set_rsa_keygen_bits(ctx, 2048) == 1 &&
                EVP_PKEY_CTX_set1_rsa_keygen_pubexp(ctx, e) == 1 && EVP_PKEY_generate(ctx, &three) == 1);
    put_key(three, &algorithm_rsa_2048);
    not_of(&algorithm_rsa_2048);
    BN_free(e);
    EVP_PKEY_CTX_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(tables_agree), cmocka_unit_test(every_method), cmocka_unit_test(judged_together),
                                       cmocka_unit_test(public_halves)};

    return cmocka_run_group_tests(tests, NULL, free_all);
}
