/* Resolving a key of the token. */
#include "kmsd/token/key.h"

#include <string.h>

#include <openssl/x509.h>

/* CKA_EC_POINT is the point inside a DER OCTET STRING; some tokens leave the wrapping out. */
static struct span unwrap_point(const uint8_t *data, size_t len, size_t want)
{
    if (len == want + 2 && data[0] == 0x04 && data[1] == want)
        return span_of(data + 2, want);
    return span_of(data, len);
}

int key_public(struct token *t, const struct algorithm *a, struct span id, struct buf *spki, struct fault *f)
{
    uint8_t point[POINT_MAX], params[32];
    CK_ATTRIBUTE get[] = {{CKA_EC_POINT, point, sizeof point}, {CKA_EC_PARAMS, params, sizeof params}};
    struct object o;
    struct span p;
    CK_RV rv;

    if (object_find(t, CKO_PUBLIC_KEY, a->type, id, &o, f))
        return -1;
    rv = t->f->C_GetAttributeValue(t->session, o.handle, get, 2);
    if (rv == CKR_BUFFER_TOO_SMALL || rv == CKR_ATTRIBUTE_TYPE_INVALID)
        return fault_set(f, LANE_KEY, "the public key is not of algorithm %s", a->name);
    if (rv != CKR_OK)
        return fault_rv(f, rv, "C_GetAttributeValue");
    p = unwrap_point(point, get[0].ulValueLen, a->point_len);
    if (!span_eq(span_of(params, get[1].ulValueLen), a->params) || p.len != a->point_len)
        return fault_set(f, LANE_KEY, "the public key is not of algorithm %s", a->name);
    buf_put(spki, a->spki_prefix.data, a->spki_prefix.len);
    buf_put(spki, p.data, p.len);
    return buf_ok(spki) ? fault_set(f, LANE_TOKEN, "out of memory") : 0;
}

static int set_up_verify(struct key *k, struct span spki, struct fault *f)
{
    const uint8_t *p = spki.data;

    k->public = d2i_PUBKEY(NULL, &p, (long)spki.len);
    if (!k->public || p != spki.data + spki.len)
        return fault_set(f, LANE_KEY, "the public key is not a point of its curve");
    if (!k->algorithm->prehash)
        return 0;
    k->verify = EVP_PKEY_CTX_new(k->public, NULL);
    if (!k->verify || EVP_PKEY_verify_init(k->verify) != 1 || EVP_PKEY_CTX_set_signature_md(k->verify, EVP_sha256()) != 1)
        return fault_set(f, LANE_TOKEN, "OpenSSL cannot set up the verification");
    return 0;
}

int key_open(struct token *t, const struct algorithm *a, struct span id, struct span spki, struct key *out, struct fault *f)
{
    BUF_AUTO have = BUF_INIT(SPKI_MAX);
    KEY_AUTO k = {.algorithm = a, .epoch = t->epoch};
    struct object o;

    if (id.len != KEY_ID_LEN || spki.len > SPKI_MAX)
        return fault_set(f, LANE_KEY, "a key id has %d bytes, a public key at most %d", KEY_ID_LEN, SPKI_MAX);
    if (object_find(t, CKO_PRIVATE_KEY, a->type, id, &o, f) || key_public(t, a, id, &have, f))
        return -1;
    if (!span_eq(buf_span(&have), spki))
        return fault_set(f, LANE_KEY, "the public key on the token is not the recorded one");
    k.handle = o.handle;
    memcpy(k.id, id.data, id.len);
    memcpy(k.spki, spki.data, spki.len);
    k.spki_len = spki.len;
    if (set_up_verify(&k, spki, f))
        return -1;
    *out = k;
    k = (struct key){0};
    return 0;
}

void key_clear(struct key *k)
{
    EVP_PKEY_CTX_free(k->verify);
    EVP_PKEY_free(k->public);
    *k = (struct key){0};
}
