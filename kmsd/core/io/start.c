/* Folds the log at start. */
#include "kmsd/core/io/start.h"

#include <string.h>
#include <sys/stat.h>

#include "audit/logscan.h"
#include "audit/state/snapshot.h"
#include "base/fsutil.h"
#include "base/log.h"

#define CANDIDATES 2 /* as many as are kept */

struct start {
    const struct settings *settings;
    const struct anchor *anchor;
    struct state *state;
    struct logdir *log;
    json_t *recovered;
    const struct snapshot_ref *ref; /* the snapshot that the fold began with */
    uint64_t snapshot;              /* records that came from one, in the end */
    bool confirmed;                 /* the chain has the record that names it */
};

static int read_blob(void *ctx, const char *sha256, struct buf *out, struct err *e)
{
    return logdir_blob_read(((const struct start *)ctx)->settings->audit_dir, sha256, out, e);
}

static int apply(void *ctx, const json_t *record, struct span line, struct err *e)
{
    struct start *s = ctx;
    const struct blob_source blobs = {read_blob, s};
    struct snapshot_ref ref;
    struct err other = {0};

    if (state_apply(s->state, record, line, &blobs, e))
        return -1;
    if (s->ref && rec_int(record, "seq") == s->ref->named_by)
        s->confirmed = !snapshot_ref_of(record, &ref, &other) && ref.seq == s->ref->seq && !strcmp(ref.sha256, s->ref->sha256);
    return 0;
}

/* The file must have the bytes that the record names. */
static int load(struct start *s, struct err *e)
{
    BUF_AUTO text = BUF_INIT(SNAPSHOT_BYTES_MAX);
    const struct blob_source blobs = {read_blob, s};
    char path[PATH_MAX], hash[SHA256_HEX];

    if (path_join(path, sizeof path, s->settings->snapshots_dir, s->ref->file))
        return err_set(e, ERR_INTERNAL, "the path %s is too long", s->settings->snapshots_dir);
    if (file_read(path, &text, e))
        return -1;
    sha256_hex(text.data, text.len, hash);
    if (text.len != s->ref->bytes || strcmp(hash, s->ref->sha256))
        return err_set(e, ERR_INTERNAL, "%s was altered: its SHA-256 is %s", path, hash);
    s->state = snapshot_read(buf_span(&text), &blobs, e);
    return s->state ? 0 : -1;
}

/* What was cut stays cut, even if the snapshot is then not used. */
static void keep_recovered(struct start *s, json_t *recovered)
{
    if (!recovered)
        return;
    json_decref(s->recovered);
    s->recovered = recovered;
}

/* Records behind the snapshot meet the anchor as they are read. An older one is looked up. */
static int meets_anchor(const struct start *s, struct err *e)
{
    struct log_place place = {0};

    if (s->anchor->seq + 1 >= s->ref->seq)
        return 0;
    if (logscan_seek(s->settings->audit_dir, s->anchor->seq + 1, &place, e))
        return -1;
    return strcmp(place.prev, s->anchor->hash) ? anchor_refuse(s->anchor, ANCHOR_REPLACED, "the anchor", s->ref->seq, e) : 0;
}

/* The log must have the record that the snapshot ends with, and all segments before it; the records behind it are read and checked as ever. */
static int follow(struct start *s, struct err *e)
{
    const struct log_reader reader = {.each = apply, .ctx = s, .anchor = s->anchor};
    const char *dir = s->settings->audit_dir;
    struct log_place place = {0};
    json_t *recovered = NULL;
    int failed;

    if (logscan_seek(dir, s->ref->seq, &place, e) || logscan_join(dir, &place, e) || meets_anchor(s, e))
        return -1;
    if (s->state->chain.next_seq != s->ref->seq || strcmp(s->state->head, place.prev))
        return err_set(e, ERR_INTERNAL, "record %llu has another hash than in the snapshot", (unsigned long long)(s->ref->seq - 1));
    failed = logdir_open_at(s->log, dir, &place, &reader, &recovered, e);
    keep_recovered(s, recovered);
    if (failed || s->confirmed)
        return failed;
    logdir_close(s->log);
    return err_set(e, ERR_INTERNAL, "the record that names it is not in the chain");
}

static int from_snapshot(struct start *s, const struct snapshot_ref *ref, struct err *e)
{
    s->ref = ref;
    s->confirmed = false;
    if (!load(s, e) && !follow(s, e))
        return 0;
    state_free(s->state);
    s->state = NULL;
    return -1;
}

struct search {
    struct start *start;
    struct snapshot_ref ref;
    unsigned tried;
    bool found;
    struct buf why; /* what was wrong with those tried */
};

/* Tries the snapshot that a record names; the next older one only if that fails, for finding it may mean going through the whole log. */
static bool try(void *ctx, const json_t *record)
{
    struct search *q = ctx;
    struct err e = {0};

    if (snapshot_ref_of(record, &q->ref, &e))
        return true;
    q->tried++;
    q->found = !from_snapshot(q->start, &q->ref, &e);
    if (!q->found)
        buf_printf(&q->why, "snapshot %llu cannot be used: %s; ", (unsigned long long)q->ref.seq, e.detail);
    return !q->found && q->tried < CANDIDATES && !q->start->recovered; /* what was cut may be what is being gone through */
}

static int from_first(struct start *s, struct err *e)
{
    const struct log_reader reader = {.each = apply, .ctx = s, .anchor = s->anchor};
    json_t *recovered = NULL;

    s->ref = NULL;
    s->state = state_new();
    if (!s->state)
        return err_set(e, ERR_INTERNAL, "out of memory");
    if (logdir_open(s->log, s->settings->audit_dir, &reader, &recovered, e))
        return -1;
    keep_recovered(s, recovered);
    return 0;
}

/* A snapshot that cannot be used is never a reason not to start: one warning, and the next one or the whole log instead. */
static int read_log(struct start *s, struct err *e)
{
    struct search q = {.start = s, .why = BUF_INIT(4096)};
    struct err unreadable = {0};
    int64_t begun = clock_boot_us();

    if (logscan_back(s->settings->audit_dir, "log.snapshot", try, &q, &unreadable))
        buf_printf(&q.why, "%s; ", unreadable.detail);
    if (q.why.len)
        log_line(LOG_LEVEL_WARNING, "snapshot", "text=\"%sreading from %s\"", buf_str(&q.why), q.found ? "an older one" : "the first record");
    buf_free(&q.why);
    if (!q.found && from_first(s, e))
        return -1;
    s->snapshot = q.found ? q.ref.seq : 0;
    log_line(LOG_LEVEL_INFO, "start", "from=%s seq=%llu records=%llu ms=%lld", q.found ? "snapshot" : "record", (unsigned long long)s->snapshot,
             (unsigned long long)s->state->chain.next_seq, (long long)((clock_boot_us() - begun) / 1000));
    return 0;
}

/* A snapshot among the segments would be taken for one. */
static int check_directory(const struct settings *s, struct err *e)
{
    struct stat log, snapshots;

    if (stat(s->audit_dir, &log) || stat(s->snapshots_dir, &snapshots) || log.st_dev != snapshots.st_dev || log.st_ino != snapshots.st_ino)
        return 0;
    return err_set(e, ERR_BAD_REQUEST, "audit.snapshots is the directory of the log; give the snapshots one of their own");
}

int start_read(const struct settings *settings, const struct anchor *anchor, struct state **state, struct logdir *log, json_t **recovered, uint64_t *snapshot,
               struct err *e)
{
    struct start s = {.settings = settings, .anchor = anchor, .log = log};
    int failed = check_directory(settings, e) || read_log(&s, e) ? -1 : 0;

    *state = s.state;
    *recovered = s.recovered;
    *snapshot = s.snapshot;
    return failed;
}

void start_measure(const struct settings *settings, uint64_t snapshot, uint64_t *log_bytes, int64_t *snapshot_us)
{
    char path[PATH_MAX], name[SNAPSHOT_NAME];
    struct stat st;

    *log_bytes = segments_bytes(settings->audit_dir);
    *snapshot_us = 0;
    if (!snapshot)
        return;
    snapshot_name(snapshot, name);
    if (!path_join(path, sizeof path, settings->snapshots_dir, name) && !stat(path, &st))
        *snapshot_us = st.st_mtim.tv_sec * INT64_C(1000000) + st.st_mtim.tv_nsec / 1000;
}
