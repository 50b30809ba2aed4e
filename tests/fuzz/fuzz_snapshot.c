/* Fuzzes snapshot_read: what is taken is exactly what is written of the state that it gives, and that state can be asked and folded further. */
#include <stdlib.h>
#include <string.h>

#include "audit/state/snapshot.h"

#define INPUT_MAX (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

/* Every policy is this one; its SHA-256 stands in the corpus. */
static int read_blob(void *ctx, const char *sha256, struct buf *out, struct err *e)
{
    (void)ctx;
    (void)sha256;
    (void)e;
    buf_puts(out, "version: 1\nroles:\n  all:\n    - name: all\n      allow: [policy.apply, identity.create]\ngrants:\n  - {role: all, to: [founders]}\n");
    return buf_ok(out);
}

static bool see_identity(void *ctx, struct identity *i)
{
    require(i->name[0] && state_identity(ctx, i->name) == i && i->n_credentials <= CREDENTIALS_MAX && i->n_ssh <= SSH_KEYS_MAX);
    return true;
}

static bool see_key(void *ctx, struct key *k)
{
    require(state_key(ctx, k->name) == k && (!k->active || strlen(k->keyid) == SHA256_HEX - 1));
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct blob_source blobs = {read_blob, NULL};
    BUF_AUTO again = BUF_INIT(2 * (size_t)INPUT_MAX);
    struct err e = {0};
    struct state *s = size <= INPUT_MAX ? snapshot_read(span_of(data, size), &blobs, &e) : NULL;

    if (!s) {
        require(size > INPUT_MAX || (e.code != ERR_NONE && utf8_check(e.detail, strlen(e.detail)) == 0));
        return 0;
    }
    require(s->genesis && s->policy && s->chain.next_seq > 0 && !strcmp(s->head, s->chain.prev));
    state_each_identity(s, "", see_identity, s);
    state_each_key(s, "", see_key, s);
    for (const struct stored *st = s->stored_first; st; st = st->next)
        require(state_stored(s, st->id) == st && st->seq < s->chain.next_seq && st->owner->count > 0 && st->owner->count <= STORED_ANSWERS_MAX);
    require(snapshot_write(s, &again, &e) == 0 && span_eq(buf_span(&again), span_of(data, size)));
    state_free(s);
    return 0;
}
