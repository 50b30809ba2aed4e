/* Resolving a key of the token. */
#include "kmsd/token/key.h"

#include <string.h>

int key_open(struct token *t, const struct method *m, struct span id, struct span spki, struct key *out, struct fault *f)
{
    BUF_AUTO have = BUF_INIT(SPKI_MAX);
    KEY_AUTO k = {.method = m, .epoch = t->epoch};
    struct object o;

    if (id.len != KEY_ID_LEN || spki.len > SPKI_MAX)
        return fault_set(f, LANE_KEY, "a key id has %d bytes, a public key at most %d", KEY_ID_LEN, SPKI_MAX);
    if (object_find(t, CKO_PRIVATE_KEY, m->algorithm->type, id, &o, f) || key_public(t, m->algorithm, id, &have, f))
        return -1;
    if (!span_eq(buf_span(&have), spki))
        return fault_set(f, LANE_KEY, "the public key on the token is not the recorded one");
    k.handle = o.handle;
    memcpy(k.id, id.data, id.len);
    memcpy(k.spki, spki.data, spki.len);
    k.spki_len = spki.len;
    if (key_verifier(&k, spki, f))
        return -1;
    k.copyable = key_copyable(t, &k);
    *out = k;
    k = (struct key){0};
    return 0;
}

void key_clear(struct key *k)
{
    p256_key_free(k->p256);
    EVP_PKEY_CTX_free(k->verify);
    EVP_PKEY_free(k->public);
    *k = (struct key){0};
}
