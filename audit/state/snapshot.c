/* Writes the state as a snapshot. */
#include "audit/state/snapshot.h"

#include <string.h>

#include "audit/state/keylife.h"
#include "audit/state/tree.h"
#include "base/enc.h"
#include "base/timefmt.h"

void snapshot_name(uint64_t seq, char out[static SNAPSHOT_NAME])
{
    BUF_AUTO b = BUF_INIT(SNAPSHOT_NAME - 1);

    buf_printf(&b, "%020llu.jsonl", (unsigned long long)seq);
    memcpy(out, buf_str(&b), SNAPSHOT_NAME);
}

json_t *snapshot_detail(const struct snapshot_ref *ref)
{
    return json_pack("{s:I, s:s, s:I, s:s}", "bytes", (json_int_t)ref->bytes, "file", ref->file, "seq", (json_int_t)ref->seq, "sha256", ref->sha256);
}

int snapshot_ref_of(const json_t *record, struct snapshot_ref *out, struct err *e)
{
    const json_t *detail = rec_obj(record, "detail");
    const char *hash = rec_str(detail, "sha256");
    struct snapshot_ref ref = {.seq = rec_int(detail, "seq"), .bytes = rec_int(detail, "bytes"), .named_by = rec_int(record, "seq")};

    snapshot_name(ref.seq, ref.file);
    if (strcmp(rec_str(record, "event"), "log.snapshot") || strcmp(rec_str(record, "outcome"), "ok") || !ref.seq || ref.seq > ref.named_by || !ref.bytes ||
        strlen(hash) != SHA256_HEX - 1 || strcmp(rec_str(detail, "file"), ref.file))
        return err_set(e, ERR_INTERNAL, "a record names a snapshot that cannot be");
    memcpy(ref.sha256, hash, SHA256_HEX);
    *out = ref;
    return 0;
}

/* Takes over the object. */
static void put(struct snapshot_writer *w, json_t *object)
{
    size_t start = w->out->len;

    json_canonical(w->out, object);
    json_decref(object);
    w->failed |= !object || w->out->len - start > RECORD_LINE_MAX;
    buf_putc(w->out, '\n');
    w->lines++;
}

static void put_record(struct snapshot_writer *w, const char *line)
{
    buf_puts(w->out, line);
    buf_putc(w->out, '\n');
    w->lines++;
}

static json_t *b64_json(const struct buf *data)
{
    BUF_AUTO text = BUF_INIT(RECORD_LINE_MAX);

    b64_encode(&text, data->data, data->len);
    return text.failed ? NULL : json_string(buf_str(&text));
}

static void put_head(struct snapshot_writer *w, const struct state *s)
{
    char time[TIME_TEXT];

    time_format(s->chain.time, time);
    put(w, json_pack("{s:i, s:s, s:s, s:s, s:I, s:I, s:s}", "format", SNAPSHOT_FORMAT, "hash", s->head, "instance", s->instance, "kind", "snapshot",
                     "previous", (json_int_t)s->snapshot_seq, "seq", (json_int_t)s->chain.next_seq, "time", time));
    put(w, json_pack("{s:o, s:o, s:s, s:s, s:s}", "ca_cert_b64", b64_json(&s->ca_cert), "ca_spki_b64", b64_json(&s->ca_spki), "kind", "genesis", "mode",
                     s->mode, "origin", s->origin));
    if (s->ca_before.len)
        put(w, json_pack("{s:s, s:o}", "kind", "ca", "spki_b64", b64_json(&s->ca_before)));
    if (s->server_sha256[0])
        put(w, json_pack("{s:s, s:s}", "kind", "server", "sha256", s->server_sha256));
    put(w, json_pack("{s:s, s:I, s:s, s:s}", "kind", "policy", "seq", (json_int_t)s->policy_seq, "sha256", s->policy_sha256, "time", s->policy_time));
    if (s->reset.seq)
        put(w, json_pack("{s:I, s:s, s:b, s:I, s:I, s:b, s:s, s:I}", "counter", (json_int_t)s->reset.counter, "kind", "reset", "old", (int)s->reset.old, "old_seq",
                         (json_int_t)s->reset.old_seq, "seq", (json_int_t)s->reset.seq, "token", (int)s->reset.token, "token_hash", s->reset.token_hash,
                         "token_seq", (json_int_t)s->reset.token_seq));
    if (s->reconcile_sha256[0])
        put(w, json_pack("{s:s, s:s}", "kind", "token", "sha256", s->reconcile_sha256));
    if (s->time_frozen)
        put(w, json_pack("{s:s, s:I}", "kind", "clock", "step", (json_int_t)s->time_step));
}

static bool put_identity(void *ctx, void *node)
{
    const struct identity *i = node;

    put(ctx, json_pack("{s:s, s:b, s:b, s:o, s:s}", "created", i->created, "enabled", (int)i->enabled, "founder", (int)i->founder, "identity",
                       identity_json(i), "kind", "identity"));
    return true;
}

static bool put_key(void *ctx, void *node)
{
    const struct key *k = node;

    put(ctx, json_pack("{s:b, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:s, s:I}", "active", (int)k->active, "algorithm",
                       k->algorithm, "before", key_state_name(k->before), "compromised", k->compromised, "created", k->created, "due", k->due, "erase_seq",
                       (json_int_t)k->erase_seq, "intent_seq", (json_int_t)k->intent_seq, "key_id", k->key_id, "kind", "key", "name", k->name, "purpose",
                       k->purpose, "scheme", k->scheme, "since", k->since, "spki_b64", b64_json(&k->spki), "state", key_state_name(k->state), "version",
                       (json_int_t)k->version));
    return true;
}

static bool count_one(void *ctx, void *node)
{
    (void)node;
    ++*(json_int_t *)ctx;
    return true;
}

/* Answers are made anew from the lines of records, byte for byte: so these stand in the snapshot as they are. Reading them back from the log instead
 * would need one random read each, tie the snapshot to the place of every line, and make the state depend on files. */
static bool put_release(void *ctx, void *node)
{
    put_record(ctx, ((const struct release *)node)->line);
    return true;
}

static bool put_mark(void *ctx, void *node)
{
    const struct mark *m = node;
    const char *lf = strchr(m->id, '\n');
    json_int_t n = 0;

    tree_each(m->releases, "", count_one, &n);
    put(ctx, json_pack("{s:s%, s:s, s:s, s:I, s:s, s:b}", "app", m->id, (size_t)(lf - m->id), "channel", lf + 1, "kind", "mark", "releases", n, "version",
                       m->version, "withdrawn", (int)m->withdrawn));
    tree_each(m->releases, "", put_release, ctx);
    return true;
}

static void put_stored(struct snapshot_writer *w)
{
    put_record(w, w->next->line);
    w->next = w->next->next;
    w->left--;
}

void snapshot_begin(const struct state *s, struct snapshot_writer *w, struct buf *out)
{
    *w = (struct snapshot_writer){.out = out, .next = s->stored_first, .left = s->n_stored};
    put_head(w, s);
    tree_each(s->identities, "", put_identity, w);
    tree_each(s->keys, "", put_key, w);
    tree_each(s->marks, "", put_mark, w);
    put(w, json_pack("{s:s, s:I}", "kind", "stored", "records", (json_int_t)w->left));
}

int snapshot_more(struct snapshot_writer *w, size_t bytes, struct err *e)
{
    size_t until = w->out->len + bytes;

    if (w->left)
        do
            put_stored(w);
        while (w->left && w->out->len < until && !w->out->failed);
    if (!w->left && !w->ended) {
        put(w, json_pack("{s:s, s:I}", "kind", "end", "lines", (json_int_t)w->lines));
        w->ended = true;
    }
    if (buf_ok(w->out))
        return err_set(e, ERR_TOO_LARGE, "the state does not fit a snapshot of %zu bytes", w->out->max);
    if (w->failed)
        return err_set(e, ERR_INTERNAL, "a part of the state does not fit a line of a snapshot");
    return w->left ? 1 : 0;
}

void snapshot_leaves(struct snapshot_writer *w, const struct stored *st)
{
    if (w->left && st == w->next)
        put_stored(w);
}

int snapshot_write(const struct state *s, struct buf *out, struct err *e)
{
    struct snapshot_writer w;

    snapshot_begin(s, &w, out);
    return snapshot_more(&w, SIZE_MAX - out->len, e);
}
