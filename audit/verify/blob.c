/* Bodies that stand beside the log, named by their SHA-256. */
#include <inttypes.h>
#include <string.h>

#include "audit/verify/check.h"
#include "base/fsutil.h"

#define BLOB_MAX (64u << 20)

static int read_file(struct check *c, const char *name, struct buf *out, struct err *e)
{
    char path[4200];

    if (segments_path(c->segments, name, path, sizeof path))
        return err_set(e, ERR_NOT_FOUND, "the path is too long");
    return file_read(path, out, e);
}

int blob_check(struct check *c, const struct record *r, const char *sha256_text, struct buf *out)
{
    BUF_AUTO name = BUF_INIT(128), bytes = BUF_INIT(BLOB_MAX);
    char actual[SHA256_HEX], path[4200];
    struct err e = {0};

    if (!out && map_get(&c->blobs, sha256_text))
        return 0;
    buf_printf(&name, "blobs/%s", sha256_text);
    if (read_file(c, buf_str(&name), &bytes, &e)) {
        if (!segments_path(c->segments, buf_str(&name), path, sizeof path) && file_exists(path) && e.code == ERR_TOO_LARGE)
            return check_fail(c, r, FINDING_BLOB_ALTERED, "%s is longer than any body", buf_str(&name));
        return check_fail(c, r, FINDING_BLOB_MISSING, "%s: the body that the record names cannot be read", buf_str(&name));
    }
    sha256_hex(bytes.len ? (const void *)bytes.data : "", bytes.len, actual);
    if (strcmp(actual, sha256_text))
        return check_fail(c, r, FINDING_BLOB_ALTERED, "%s has the SHA-256 %s", buf_str(&name), actual);
    if (!state_take(&c->blobs, sha256_text))
        c->counts.blobs++;
    if (out)
        buf_put(out, bytes.data, bytes.len);
    return out && buf_ok(out) ? check_fail(c, r, FINDING_INVALID, "the body is longer than a request may be") : 0;
}

/* A crash hardly leaves whole records behind an unfinished one: whoever edits a record near the end of a log has all behind it cut. */
static void remark_whole_records(struct check *c, const struct record *r, struct span bytes)
{
    const uint8_t *lf;
    uint64_t whole = 0;

    for (size_t at = 0; at < bytes.len && (lf = memchr(bytes.data + at, '\n', bytes.len - at)); at = (size_t)(lf - bytes.data) + 1) {
        struct err e = {0};
        JSON_AUTO *record = json_read_object(bytes.data + at, (size_t)(lf - bytes.data) - at, LINE_MAX_BYTES, &e);

        whole += record && json_object_get(record, "seq") && json_object_get(record, "prev");
    }
    if (whole)
        report_note(c->report, "record %" PRIu64 ": the bytes that were cut then hold %" PRIu64 " whole records; compare them with your heads",
                    r->seq, whole);
}

void torn_check(struct check *c, const struct record *r)
{
    const char *name = text_of(r->detail, "file");
    BUF_AUTO bytes = BUF_INIT(BLOB_MAX);
    char actual[SHA256_HEX];
    struct err e = {0};

    if (strncmp(name, "torn-", 5) || strchr(name, '/')) {
        (void)check_fail(c, r, FINDING_INVALID, "it names no file of bytes kept aside");
        return;
    }
    if (read_file(c, name, &bytes, &e)) {
        report_note(c->report, "record %" PRIu64 ": the %" PRIu64 " bytes that were cut then are not there any more", r->seq,
                    count_of(r->detail, "bytes"));
        return;
    }
    sha256_hex(bytes.len ? (const void *)bytes.data : "", bytes.len, actual);
    if (strcmp(actual, text_of(r->detail, "sha256")) || bytes.len != count_of(r->detail, "bytes"))
        (void)check_fail(c, r, FINDING_BLOB_ALTERED, "the bytes kept aside in %.120s are not those of the record", name);
    remark_whole_records(c, r, buf_span(&bytes));
}
