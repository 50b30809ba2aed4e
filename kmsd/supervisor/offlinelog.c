/* Appends a record while the service is stopped. */
#include "kmsd/supervisor/offlinelog.h"

#include <string.h>

#include "audit/anchorfile.h"
#include "base/enc.h"
#include "base/fsutil.h"
#include "kmsd/supervisor/offline.h"

static int read_blob(void *ctx, const char *sha256, struct buf *out, struct err *e)
{
    return logdir_blob_read(((const struct offline_log *)ctx)->settings->audit_dir, sha256, out, e);
}

static int apply(void *ctx, const json_t *record, struct span line, struct err *e)
{
    struct offline_log *l = ctx;
    const struct blob_source blobs = {read_blob, l};

    return state_apply(l->state, record, line, &blobs, e);
}

static int open_against(struct offline_log *l, const struct anchor *anchor, struct err *e)
{
    const struct log_reader reader = {.each = apply, .ctx = l, .anchor = anchor};

    return logdir_open(&l->log, l->settings->audit_dir, &reader, &l->recovered, e);
}

static int open_anchored(struct offline_log *l, struct err *e)
{
    enum anchor_file_state state;
    struct anchor anchor;

    if (anchor_file_need(l->settings->anchor, &anchor, &state, e) || open_against(l, &anchor, e))
        return -1;
    return strcmp(anchor.instance, l->state->instance) ? err_set(e, ERR_BAD_REQUEST, "the anchor %s belongs to another instance", l->settings->anchor) : 0;
}

static int open_log(struct offline_log *l, const struct settings *s, bool anchored, struct err *e)
{
    int failed;

    l->settings = s;
    l->state = state_new();
    if (!l->state)
        return err_set(e, ERR_INTERNAL, "out of memory");
    if (offline_account(s, &l->owner, e) || account_enter(&l->owner, e))
        return -1;
    failed = anchored ? open_anchored(l, e) : open_against(l, NULL, e);
    account_leave(&l->owner);
    return failed;
}

int offline_log_open(struct offline_log *l, const struct settings *s, struct err *e)
{
    return open_log(l, s, true, e);
}

int offline_log_open_anyway(struct offline_log *l, const struct settings *s, struct err *e)
{
    return open_log(l, s, false, e);
}

int offline_log_blob(struct offline_log *l, const char *sha256, struct span data, struct err *e)
{
    int failed;

    if (account_enter(&l->owner, e))
        return -1;
    failed = logdir_blob_write(&l->log, sha256, data, e);
    account_leave(&l->owner);
    return failed;
}

/* The fold takes it before the disk does: what it refuses would refuse every later start. */
static int add(struct offline_log *l, json_t *record, const char *boot, struct buf *lines, struct err *e)
{
    struct chain next = l->state->chain;
    size_t start = lines->len;
    JSON_AUTO *owned = record;

    if (!owned)
        return err_set(e, ERR_INTERNAL, "out of memory");
    return record_seal(owned, &next, clock_wall_us() > next.time ? clock_wall_us() : next.time, boot, lines, e) ||
                   apply(l, owned, span_of(lines->data + start, lines->len - start - 1), e)
               ? -1
               : 0;
}

static int append(struct offline_log *l, uint64_t first, struct span lines, struct err *e)
{
    int failed;

    if (account_enter(&l->owner, e))
        return -1;
    failed = logdir_append(&l->log, first, lines, e);
    account_leave(&l->owner);
    return failed;
}

int offline_log_append(struct offline_log *l, json_t *record, uint64_t *seq, char hash[static SHA256_HEX], struct err *e)
{
    BUF_AUTO lines = BUF_INIT(2 * (RECORD_LINE_MAX + 1));
    uint64_t first = l->state->chain.next_seq;
    JSON_AUTO *owned = record;
    char boot[RECORD_BOOT_HEX];
    uint8_t id[16];

    if (random_bytes(id, sizeof id))
        return err_set(e, ERR_INTERNAL, "no random bytes");
    hex_encode(id, sizeof id, boot);
    if (l->recovered) {
        json_t *cut = record_new("log.recovered", "ok", &actor_system, "");

        json_object_set(cut, "detail", l->recovered);
        if (add(l, cut, boot, &lines, e))
            return -1;
    }
    if (add(l, json_incref(owned), boot, &lines, e) || append(l, first, buf_span(&lines), e))
        return -1;
    *seq = l->state->chain.next_seq - 1;
    memcpy(hash, l->state->head, SHA256_HEX);
    return 0;
}

void offline_log_close(struct offline_log *l)
{
    if (l->log.fd >= 0)
        logdir_close(&l->log);
    json_decref(l->recovered);
    state_free(l->state);
}
