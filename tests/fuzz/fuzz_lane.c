/* Fuzzes what a core may ask of a lane, in any order, over a token that works: no crash, every answer a frame. A signing lane signs with release keys only, each
 * for what its scheme signs, and changes nothing on the token; the administrative one signs certificates only, and removes nothing but what it may.
 * Input: which lane, then frames: type, and for each field that the type knows a number of one of the known values, or 255, a length and bytes. */
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/lanetoken.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FRAMES_MAX 48
#define RAW 255
#define STATEMENT STATEMENT_PREFIX "2 {}"
#define PROFILE \
    "{\"cn\":\"ci-a\",\"dns\":[],\"ip\":[],\"kind\":\"client\",\"not_after\":\"2031-01-01T00:00:00.000000Z\"," \
    "\"not_before\":\"2030-01-01T00:00:00.000000Z\",\"serial\":\"00112233445566778899aabbccddeeff\",\"uri\":[]}"

static X509 *ca;
static struct buf csr;

static void make_csr(void)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509_REQ *request = X509_REQ_new();
    uint8_t *der = NULL;
    int len;

    require(X509_REQ_set_pubkey(request, key) && X509_REQ_sign(request, key, EVP_sha256()));
    len = i2d_X509_REQ(request, &der);
    require(len > 0);
    csr = BUF_INIT(4096);
    buf_put(&csr, der, (size_t)len);
    OPENSSL_free(der);
    X509_REQ_free(request);
    EVP_PKEY_free(key);
}

static void make_ca(void)
{
    X509_NAME *name;

    ca = X509_new();
    name = X509_get_subject_name(ca);
    require(X509_set_version(ca, 2) && ASN1_INTEGER_set(X509_get_serialNumber(ca), 1) &&
            X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"ca", -1, -1, 0) && X509_set_issuer_name(ca, name) &&
            ASN1_TIME_set(X509_getm_notBefore(ca), 0) && ASN1_TIME_set(X509_getm_notAfter(ca), 4000000000L) && X509_set_pubkey(ca, lanetoken_pairs[PAIR_CA].key) &&
            X509_sign(ca, lanetoken_pairs[PAIR_CA].key, EVP_sha256()));
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    lanetoken_make();
    make_csr();
    make_ca();
    return 0;
}

/* The value of that number, as far as there are so many. */
static struct span known(enum frame_tag tag, uint8_t number)
{
    static const char *const algorithms[] = {"p256", "p384", "rsa-3072", "ed25519"}, *const schemes[] = {"statement", "digest", "digest-pkcs1"},
                             *const inputs[] = {STATEMENT, "00112233445566778899aabbccddeeff", STATEMENT_PREFIX "3 {} "};
    unsigned pair = number % PAIRS;

    switch (tag) {
    case TAG_KEY_ID: return span_of(lanetoken_pairs[pair].id, KEY_ID_LEN);
    case TAG_SPKI: return buf_span(&lanetoken_pairs[pair].spki);
    case TAG_LABEL: return span_str(number % 8 == 7 ? LABEL_ANCHOR : lanetoken_pairs[pair].label);
    case TAG_ALGORITHM: return span_str(algorithms[number % 4]);
    case TAG_SCHEME: return span_str(schemes[number % 3]);
    case TAG_INPUT: return span_str(inputs[number % 3]);
    case TAG_CSR: return buf_span(&csr);
    case TAG_PROFILE: return span_str(PROFILE);
    default: return span_of(NULL, 0);
    }
}

static uint8_t byte(struct span *rest)
{
    uint8_t got = rest->len ? *rest->data : 0;

    *rest = rest->len ? span_of(rest->data + 1, rest->len - 1) : *rest;
    return got;
}

static void put_fields(struct buf *frame, enum frame_type type, struct span *rest)
{
    static const enum frame_tag tags[] = {TAG_KEY_ID, TAG_ALGORITHM, TAG_SCHEME, TAG_LABEL, TAG_SPKI, TAG_INPUT, TAG_CSR, TAG_PROFILE, TAG_ANCHOR};

    for (size_t n = 0; n < sizeof tags / sizeof *tags; n++) {
        bool optional = tags[n] == TAG_ANCHOR && type == FRAME_ANCHOR;
        uint8_t number;
        struct span v;

        if (!optional && !frame_requires(type, tags[n]))
            continue;
        number = byte(rest);
        v = known(tags[n], number);
        if (number == RAW) {
            size_t len = byte(rest) * 2U;

            v = span_of(rest->data, len < rest->len ? len : rest->len);
            *rest = span_of(rest->data + v.len, rest->len - v.len);
        }
        if (v.data)
            frame_put(frame, tags[n], v);
    }
}

/* Whatever was answered can be read; a certificate is no CA's. */
static void read_answers(struct lane *l)
{
    struct span rest = buf_span(&l->stream.out);
    size_t len;

    for (; frame_next(rest, &len) > 0; rest = span_of(rest.data + len, rest.len - len)) {
        struct frame f;
        struct err e = {0};
        const uint8_t *at;
        X509 *cert;

        require(!frame_parse(span_of(rest.data, len), &f, &e) && (f.type == FRAME_RESULT || f.type == FRAME_ERROR));
        if (!frame_has(&f, TAG_CERT))
            continue;
        at = f.field[TAG_CERT].data;
        cert = d2i_X509(NULL, &at, (long)f.field[TAG_CERT].len);
        require(l->admin && cert && !X509_check_ca(cert) && X509_verify(cert, lanetoken_pairs[PAIR_CA].key) == 1);
        X509_free(cert);
    }
    require(!rest.len);
    buf_clear(&l->stream.out);
}

static void ask(struct lane *l, uint64_t id, struct span *rest)
{
    static const enum frame_type types[] = {FRAME_LOAD, FRAME_SIGN, FRAME_UNLOAD, FRAME_PROBE, FRAME_GENERATE, FRAME_DESTROY, FRAME_LIST,
                                            FRAME_ISSUE, FRAME_ANCHOR, FRAME_HEAD};
    enum frame_type type = types[byte(rest) % (sizeof types / sizeof *types)];
    BUF_AUTO frame = BUF_INIT(FRAME_MAX);
    size_t mark = frame_begin(&frame, type, id);
    struct frame f;
    struct err e = {0};
    uint8_t how;

    put_fields(&frame, type, rest);
    frame_end(&frame, mark);
    if (frame_parse(buf_span(&frame), &f, &e))
        return;
    lanetoken_asked = &f;
    (void)!verb_serve(l, &f);
    how = byte(rest);
    if (how & 1)
        (void)!verb_settle(l);
    while (how & 2 && ahead_due(&l->token))
        ahead_begin(&l->token);
}

static void begin(struct lane *l)
{
    const struct lanetoken_pair *p = &lanetoken_pairs[PAIR_CA];
    struct fault f = {0};

    require(l->token.objects && !objects_read_keys(&l->token, l->token.objects, &f));
    if (!l->admin)
        l->batch = p256_batch_new();
    else if (!key_open(&l->token, &method_ca, span_of(p->id, KEY_ID_LEN), buf_span(&p->spki), &l->authority.key, &f))
        l->authority.cert = ca;
    require(l->admin ? l->authority.cert != NULL : l->batch != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct settings settings;
    struct span rest = span_of(data, size);
    uint8_t what = byte(&rest);
    struct lane l = {.settings = &settings, .admin = what & 1, .stream = {.fd = -1, .out = BUF_INIT(STREAM_OUT_MAX)}};

    lanetoken_begin(&l, what & 2, what & 4 ? 3 : what & 8 ? 12 : 0); /* 12: more than the token has sessions */
    begin(&l);
    for (unsigned n = 0; n < FRAMES_MAX && rest.len; n++)
        ask(&l, n + 1, &rest);
    (void)!verb_settle(&l);
    lanetoken_end(&l);
    read_answers(&l);
    for (size_t n = 0; n < l.n_keys; n++)
        key_clear(&l.keys[n]);
    free(l.keys);
    p256_batch_free(l.batch);
    key_clear(&l.authority.key);
    objects_free(l.token.objects);
    json_decref(l.token.description);
    buf_free(&l.stream.out);
    return 0;
}
