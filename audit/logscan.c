/* Looks into a log from its end. */
#include "audit/logscan.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fsutil.h"

struct listing {
    const char *dir;
    struct log_segments all;
};

static int list(struct listing *l, const char *dir, struct err *e)
{
    l->dir = dir;
    return segments_list(dir, &l->all, e);
}

static uint64_t first_seq(const struct listing *l, int i)
{
    return segment_first(l->all.entry[i]->d_name);
}

static void unmap(struct span *s)
{
    if (s->len)
        munmap((void *)(uintptr_t)s->data, s->len);
}
#define MAP_AUTO __attribute__((cleanup(unmap))) struct span

static int map(const struct listing *l, int i, struct span *out, struct err *e)
{
    const char *name = l->all.entry[i]->d_name;
    char path[PATH_MAX];
    struct stat st;
    void *data = NULL;
    int fd, failed = 0;

    *out = (struct span){0};
    if (path_join(path, sizeof path, l->dir, name))
        return err_set(e, ERR_LOG_UNAVAILABLE, "the path of the log is too long");
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st))
        failed = err_errno(e, ERR_LOG_UNAVAILABLE, errno, "%s", path);
    else if (!S_ISREG(st.st_mode))
        failed = err_set(e, ERR_LOG_UNAVAILABLE, "%s is no regular file", path);
    else if (st.st_size && (data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0)) == MAP_FAILED)
        failed = err_errno(e, ERR_LOG_UNAVAILABLE, errno, "%s", path);
    if (fd >= 0)
        close(fd);
    if (failed)
        return -1;
    *out = span_of(data, (size_t)st.st_size);
    return 0;
}

/* The line that the byte at `at` belongs to, without LF; -1 where it has no end. */
static int line_at(struct span text, size_t at, struct span *line)
{
    const uint8_t *before = at ? memrchr(text.data, '\n', at) : NULL, *start = before ? before + 1 : text.data;
    const uint8_t *lf = at < text.len ? memchr(text.data + at, '\n', text.len - at) : NULL;

    if (!lf || lf - start > RECORD_LINE_MAX)
        return -1;
    *line = span_of(start, (size_t)(lf - start));
    return 0;
}

static json_t *parse(struct span line, struct err *e)
{
    json_t *record = json_is_canonical(line.data, line.len) ? NULL : json_read_object(line.data, line.len, RECORD_LINE_MAX, e);
    uint64_t seq;

    if (!rec_seq(record, &seq))
        return record;
    json_decref(record);
    err_set(e, ERR_LOG_UNAVAILABLE, "a line of the log is no record");
    return NULL;
}

static bool scan_segment(struct span text, struct span needle, bool (*each)(void *ctx, const json_t *record), void *ctx)
{
    const uint8_t *end = text.len ? memrchr(text.data, '\n', text.len) : NULL; /* LF of the line under inspection */
    bool go_on = true;

    while (end && go_on) {
        const uint8_t *before = end > text.data ? memrchr(text.data, '\n', (size_t)(end - text.data)) : NULL, *start = before ? before + 1 : text.data;
        struct span line = span_of(start, (size_t)(end - start));

        if (line.len <= RECORD_LINE_MAX && memmem(line.data, line.len, needle.data, needle.len)) {
            struct err ignored = {0};
            JSON_AUTO *record = parse(line, &ignored);

            go_on = !record || each(ctx, record);
        }
        end = before;
    }
    return go_on;
}

int logscan_back(const char *dir, const char *event, bool (*each)(void *ctx, const json_t *record), void *ctx, struct err *e)
{
    BUF_AUTO needle = BUF_INIT(128);
    struct listing l;
    bool go_on = true;
    int failed;

    buf_printf(&needle, "\"event\":\"%s\"", event);
    if (list(&l, dir, e))
        return -1;
    failed = buf_ok(&needle);
    for (int i = l.all.n; i-- > 0 && go_on && !failed;) {
        MAP_AUTO text = {0};

        failed = map(&l, i, &text, e);
        go_on = !failed && scan_segment(text, buf_span(&needle), each, ctx);
    }
    segments_free(&l.all);
    return failed;
}

/* Bisects for the line of that record, among the whole ones: behind them may stand half of what is being written just now. */
static int find_line(struct span text, uint64_t seq, struct span *line, struct err *e)
{
    const uint8_t *last = text.len ? memrchr(text.data, '\n', text.len) : NULL;
    size_t low = 0, high = last ? (size_t)(last - text.data) + 1 : 0;

    while (low < high) {
        if (line_at(text, low + (high - low) / 2, line))
            break;
        JSON_AUTO *record = parse(*line, e);

        if (!record)
            return -1;
        if (rec_int(record, "seq") == seq)
            return 0;
        if (rec_int(record, "seq") < seq)
            low = (size_t)(line->data - text.data) + line->len + 1;
        else
            high = (size_t)(line->data - text.data);
    }
    return err_set(e, ERR_LOG_UNAVAILABLE, "record %llu is not where it should be", (unsigned long long)seq);
}

/* The segment that record seq must be in. */
static int find_segment(const struct listing *l, uint64_t seq, struct err *e)
{
    int i = l->all.n - 1;

    while (i >= 0 && first_seq(l, i) > seq)
        i--;
    return i < 0 ? err_set(e, ERR_LOG_UNAVAILABLE, "no segment has record %llu", (unsigned long long)seq) : i;
}

static int seek(const struct listing *l, uint64_t seq, struct log_place *out, struct err *e)
{
    MAP_AUTO text = {0};
    struct span line;
    int i = find_segment(l, seq - 1, e);

    if (i < 0 || map(l, i, &text, e) || find_line(text, seq - 1, &line, e))
        return -1;
    memcpy(out->segment, l->all.entry[i]->d_name, sizeof out->segment);
    out->offset = (size_t)(line.data - text.data) + line.len + 1;
    out->next = seq;
    sha256_hex(line.data, line.len, out->prev);
    return 0;
}

static int copy_line(const struct listing *l, uint64_t seq, struct buf *out, struct err *e)
{
    MAP_AUTO text = {0};
    struct span line;
    int i = find_segment(l, seq, e);

    if (i < 0 || map(l, i, &text, e) || find_line(text, seq, &line, e))
        return -1;
    buf_put(out, line.data, line.len);
    return buf_ok(out);
}

int logscan_line(const char *dir, uint64_t seq, struct buf *out, struct err *e)
{
    struct listing l;
    int failed;

    if (list(&l, dir, e))
        return -1;
    failed = copy_line(&l, seq, out, e);
    segments_free(&l.all);
    return failed;
}

int logscan_seek(const char *dir, uint64_t seq, struct log_place *out, struct err *e)
{
    struct listing l;
    int failed;

    if (list(&l, dir, e))
        return -1;
    failed = seek(&l, seq, out, e);
    segments_free(&l.all);
    return failed;
}

/* Hash of the last record, which must be record seq. */
static int last_record(struct span text, uint64_t seq, char hash[static SHA256_HEX], struct err *e)
{
    struct span line;

    if (!text.len || line_at(text, text.len - 1, &line) || line.data + line.len + 1 != text.data + text.len)
        return err_set(e, ERR_LOG_UNAVAILABLE, "it does not end with a whole line");
    JSON_AUTO *record = parse(line, e);
    if (!record)
        return -1;
    sha256_hex(line.data, line.len, hash);
    return rec_int(record, "seq") == seq ? 0 : err_set(e, ERR_LOG_UNAVAILABLE, "its last record is not record %llu", (unsigned long long)seq);
}

/* The first record must be record seq and follow the one with that hash. */
static int first_record(struct span text, uint64_t seq, const char *prev, struct err *e)
{
    struct span line;

    if (line_at(text, 0, &line))
        return err_set(e, ERR_LOG_UNAVAILABLE, "it has no whole line");
    JSON_AUTO *record = parse(line, e);
    if (!record)
        return -1;
    return rec_int(record, "seq") == seq && !strcmp(rec_str(record, "prev"), prev) ? 0 : err_set(e, ERR_LOG_UNAVAILABLE, "it does not follow the one before");
}

static int join(const struct listing *l, const struct log_place *upto, struct err *e)
{
    char prev[SHA256_HEX];

    memset(prev, '0', SHA256_HEX - 1);
    prev[SHA256_HEX - 1] = '\0';
    if (!l->all.n || first_seq(l, 0))
        return err_set(e, ERR_LOG_UNAVAILABLE, "the first segment is missing");
    for (int i = 0; i < l->all.n; i++) {
        bool last = !strcmp(l->all.entry[i]->d_name, upto->segment);
        MAP_AUTO text = {0};

        if (map(l, i, &text, e))
            return -1;
        if (first_record(text, first_seq(l, i), prev, e) || (!last && last_record(text, i + 1 < l->all.n ? first_seq(l, i + 1) - 1 : 0, prev, e)))
            return err_context(e, "segment %s", l->all.entry[i]->d_name);
        if (last)
            return 0;
    }
    return err_set(e, ERR_LOG_UNAVAILABLE, "segment %s is missing", upto->segment);
}

int logscan_join(const char *dir, const struct log_place *upto, struct err *e)
{
    struct listing l;
    int failed;

    if (list(&l, dir, e))
        return -1;
    failed = join(&l, upto, e);
    segments_free(&l.all);
    return failed;
}
