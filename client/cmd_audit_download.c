/* kmsctl audit download: a copy of the audit log, checked while it comes, for kms-audit. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "audit/logdir.h"
#include "base/fsutil.h"
#include "client/api.h"
#include "client/audit.h"
#include "client/config.h"
#include "client/output.h"

#define SEGMENT_MAX (64u << 20)
#define LINES_A_PAGE 1000

struct copy {
    struct context *c;
    const char *dir;
    int fd;                        /* of the segment being written, -1 = none */
    uint64_t size;                 /* of it */
    uint64_t next, fetched, blobs; /* seq of the next record; what this call brought */
    char prev[SHA256_HEX];
};

static int fail(struct copy *y, const struct err *why)
{
    return kms_fail(&y->c->error, KMS_REFUSED, why);
}

static int place(struct copy *y, const char *name, char path[static PATH_MAX])
{
    return path_join(path, PATH_MAX, y->dir, name) ? kms_fail_text(&y->c->error, KMS_USAGE, "the path %s is too long", y->dir) : 0;
}

/* A body under its SHA-256, unless it is there. */
static int fetch_blob(struct copy *y, const char *sha256)
{
    char name[96], path[PATH_MAX], target[128], actual[SHA256_HEX];
    struct kms_request rq = {.method = "GET", .target = target, .door = KMS_DOOR_ADMIN, .plain = true};
    KMS_ANSWER_AUTO a = {0};
    struct err why = {0};

    if (strlen(sha256) != SHA256_HEX - 1 || sha256[strspn(sha256, "0123456789abcdef")])
        return kms_fail_text(&y->c->error, KMS_REFUSED, "record %llu names a body that is no SHA-256", (unsigned long long)y->next);
    snprintf(name, sizeof(name), "blobs/%s", sha256);
    snprintf(target, sizeof(target), "/v1/audit/blobs/%s", sha256);
    if (place(y, name, path))
        return -1;
    if (file_exists(path))
        return 0;
    if (kms_call(y->c->kms, &rq, &a, &y->c->error))
        return -1;
    sha256_hex(a.body.len ? (const void *)a.body.data : "", a.body.len, actual);
    if (strcmp(actual, sha256))
        return kms_fail_text(&y->c->error, KMS_REFUSED, "the body that the service sent for %s has another SHA-256", sha256);
    y->blobs++;
    return file_write_atomic(path, a.body.data, a.body.len, 0640, &why) ? fail(y, &why) : 0;
}

/* Bodies beside the log: policies by the records that make them hold, long requests by theirs. */
static int fetch_blobs(struct copy *y, const json_t *record)
{
    const char *event = rec_str(record, "event"), *request = rec_str(rec_obj(record, "request"), "blob");
    bool applied = !strcmp(event, "policy.apply") && !strcmp(rec_str(record, "outcome"), "ok");
    const char *policy = !strcmp(event, "log.genesis") ? rec_str(record, "policy") : applied ? rec_str(rec_obj(record, "detail"), "sha256") : "";

    return (*request && fetch_blob(y, request)) || (*policy && fetch_blob(y, policy)) ? -1 : 0;
}

/* The next record of the chain? */
static int take_line(struct copy *y, struct span line)
{
    struct err why = {0};
    JSON_AUTO *record = json_read_object(line.data, line.len, RECORD_LINE_MAX, &why);
    uint64_t seq;

    if (rec_seq(record, &seq) || seq != y->next || strcmp(rec_str(record, "prev"), y->prev))
        return kms_fail_text(&y->c->error, KMS_REFUSED, "what follows record %lld is not the next record of this log; the copy ends there",
                             (long long)y->next - 1);
    if (fetch_blobs(y, record))
        return -1;
    sha256_hex(line.data, line.len, y->prev);
    y->next++;
    return 0;
}

static int open_segment(struct copy *y, uint64_t first, int flags)
{
    char name[64], path[PATH_MAX];

    snprintf(name, sizeof(name), "%020llu.jsonl", (unsigned long long)first);
    if (place(y, name, path))
        return -1;
    if (y->fd >= 0)
        close(y->fd);
    y->fd = open(path, O_RDWR | O_APPEND | O_CLOEXEC | O_NOFOLLOW | flags, 0640);
    y->size = 0;
    return y->fd < 0 ? kms_fail_text(&y->c->error, KMS_REFUSED, "%s: %s", path, strerror(errno)) : 0;
}

static int write_all(struct copy *y, struct span data)
{
    while (data.len) {
        ssize_t n = write(y->fd, data.data, data.len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return kms_fail_text(&y->c->error, KMS_REFUSED, "writing into %s: %s", y->dir, strerror(errno));
        y->size += (uint64_t)n;
        data = span_of(data.data + n, data.len - (size_t)n);
    }
    return 0;
}

/* Checked line by line, written as a whole: what is in the copy is chained. */
static int take_page(struct copy *y, struct span page)
{
    uint64_t first = y->next;

    for (size_t at = 0; at < page.len;) {
        const uint8_t *lf = memchr(page.data + at, '\n', page.len - at);

        if (!lf)
            return kms_fail_text(&y->c->error, KMS_REFUSED, "the service's answer does not end with a whole line");
        if (take_line(y, span_of(page.data + at, (size_t)(lf - page.data) - at)))
            return -1;
        at = (size_t)(lf - page.data) + 1;
    }
    y->fetched += y->next - first;
    if ((y->fd < 0 || y->size >= SEGMENT_MAX) && open_segment(y, first, O_CREAT | O_EXCL))
        return -1;
    return write_all(y, page);
}

static int only_segments(const struct dirent *d)
{
    return logdir_is_segment(d->d_name);
}

/* The last line of an earlier copy, whatever an interrupted call left behind it cut. */
static int resume(struct copy *y, const char *name)
{
    static struct buf text = {.max = 2 * SEGMENT_MAX};
    char path[PATH_MAX];
    const uint8_t *end, *before;
    struct err why = {0};

    if (place(y, name, path))
        return -1;
    if (file_read(path, &text, &why))
        return fail(y, &why);
    end = text.len ? memrchr(text.data, '\n', text.len) : NULL;
    before = end && end > text.data ? memrchr(text.data, '\n', (size_t)(end - text.data)) : NULL;
    before = before ? before + 1 : text.data;
    JSON_AUTO *record = end ? json_read_object(before, (size_t)(end - before), RECORD_LINE_MAX, &why) : NULL;
    if (rec_seq(record, &y->next))
        return kms_fail_text(&y->c->error, KMS_REFUSED, "%s does not end with a record; take it away to fetch it again", path);
    y->next++;
    sha256_hex(before, (size_t)(end - before), y->prev);
    if (open_segment(y, strtoull(name, NULL, 10), 0) || ftruncate(y->fd, end + 1 - text.data))
        return y->fd < 0 ? -1 : kms_fail_text(&y->c->error, KMS_REFUSED, "%s: %s", path, strerror(errno));
    y->size = (uint64_t)(end + 1 - text.data);
    buf_free(&text);
    return 0;
}

static int prepare(struct copy *y)
{
    struct dirent **names = NULL;
    char blobs[PATH_MAX], audit[PATH_MAX];
    struct err why = {0};
    int n, failed;

    if (place(y, "blobs", blobs) || place(y, "audit", audit))
        return -1;
    /* A data directory, or one of something else: kms-audit would look at audit/ and never see the copy. */
    if (file_exists(audit))
        return kms_fail_text(&y->c->error, KMS_REFUSED, "%s exists, where kms-audit would look instead of at the copy: name a directory of its own", audit);
    if (dir_make(y->dir, 0750, &why) || dir_make(blobs, 0750, &why))
        return fail(y, &why);
    n = scandir(y->dir, &names, only_segments, alphasort);
    failed = n < 0 ? kms_fail_text(&y->c->error, KMS_REFUSED, "%s: %s", y->dir, strerror(errno)) : n ? resume(y, names[n - 1]->d_name) : 0;
    for (int i = 0; i < n; i++)
        free(names[i]);
    free(names);
    return failed;
}

/* Where the log ends now: one that grows faster than it is fetched would be fetched for ever. */
static int newest(struct copy *y, uint64_t *seq)
{
    KMS_ANSWER_AUTO a = {0};
    struct err why = {0};
    struct kms_request rq = {.method = "GET", .target = "/v1/audit/records?format=jsonl&order=desc&limit=1", .door = KMS_DOOR_ADMIN, .plain = true};

    if (kms_call(y->c->kms, &rq, &a, &y->c->error))
        return -1;
    JSON_AUTO *record = json_read_object(a.body.data, a.body.len ? a.body.len - 1 : 0, RECORD_LINE_MAX, &why); /* without its LF */
    return rec_seq(record, seq) ? kms_fail_text(&y->c->error, KMS_REFUSED, "the service's newest record is none") : 0;
}

/* Pages of raw lines. */
static int fetch(struct copy *y)
{
    char target[96];
    uint64_t last;
    struct kms_request rq = {.method = "GET", .target = target, .door = KMS_DOOR_ADMIN, .plain = true};
    int n;

    if (newest(y, &last))
        return -1;
    while (y->next <= last) {
        KMS_ANSWER_AUTO a = {0};

        n = snprintf(target, sizeof(target), "/v1/audit/records?format=jsonl&limit=%d", LINES_A_PAGE);
        if (y->next)
            snprintf(target + n, sizeof(target) - (size_t)n, "&after=%llu", (unsigned long long)y->next - 1);
        if (kms_call(y->c->kms, &rq, &a, &y->c->error))
            return -1;
        if (!a.body.len)
            return 0;
        if (take_page(y, buf_span(&a.body)))
            return -1;
    }
    return 0;
}

/* A copy that is as long as the log, or longer: is its end the log's? */
static int compare_end(struct copy *y)
{
    KMS_ANSWER_AUTO a = {0};
    char target[64], hash[SHA256_HEX];

    snprintf(target, sizeof(target), "/v1/audit/records/%llu", (unsigned long long)y->next - 1);
    if (api_get(y->c, KMS_DOOR_ADMIN, target, &a))
        return -1;
    sha256_hex(a.body.data, a.body.len, hash);
    if (!strcmp(hash, y->prev))
        return 0;
    return kms_fail_text(&y->c->error, KMS_REFUSED, "record %llu of the service is not the one in %s: this is a copy of another log",
                         (unsigned long long)y->next - 1, y->dir);
}

int cmd_audit_download(struct context *c)
{
    struct copy y = {.c = c, .dir = c->args.word[0], .fd = -1};
    JSON_AUTO *result = NULL;
    int failed;

    memset(y.prev, '0', SHA256_HEX - 1);
    failed = config_connect(c) || prepare(&y) || (y.next && compare_end(&y)) || fetch(&y);
    if (y.fd >= 0 && close(y.fd) && !failed)
        failed = kms_fail_text(&c->error, KMS_REFUSED, "%s: %s", y.dir, strerror(errno));
    if (failed)
        return -1;
    result = json_pack("{s:s, s:I, s:I, s:{s:I, s:s}}", "directory", y.dir, "fetched", (json_int_t)y.fetched, "bodies", (json_int_t)y.blobs, "head",
                       "seq", (json_int_t)y.next - 1, "hash", y.prev);
    output_object(c, result);
    return 0;
}
