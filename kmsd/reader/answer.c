/* Answers the core: pages of a search, a record, a body; whatever the index says is compared with the log. */
#include <string.h>

#include "audit/logdir.h"
#include "audit/logscan.h"
#include "base/enc.h"
#include "base/fsutil.h"
#include "base/log.h"
#include "kmsd/reader/breath.h"
#include "kmsd/reader/reader.h"

#define CATCH_UP_US INT64_C(500000)
#define PAGE_TIME_US INT64_C(500000)

static void found(struct reader *r, uint64_t id, const char *type, struct span body, const uint64_t *next)
{
    struct buf *out = &r->stream.out;
    size_t mark = frame_begin(out, FRAME_FOUND, id);

    frame_put_str(out, TAG_CONTENT_TYPE, type);
    if (next)
        frame_put_u64(out, TAG_SEQ, *next);
    frame_put(out, TAG_BODY, span_of(body.len ? body.data : (const uint8_t *)"", body.len));
    frame_end(out, mark);
}

static void missed(struct reader *r, uint64_t id, enum err_code code, const char *why)
{
    struct buf *out = &r->stream.out;
    size_t mark = frame_begin(out, FRAME_MISSED, id), n = strnlen(why, 200);

    while (why[n] && n && ((uint8_t)why[n] & 0xC0) == 0x80)
        n--; /* not through the middle of a character */
    frame_put_u64(out, TAG_CODE, code);
    frame_put(out, TAG_REASON, span_of(why, n));
    frame_end(out, mark);
}

static void take_head(struct reader *r, const struct frame *f)
{
    uint64_t head = frame_u64(f, TAG_HEAD);

    if (head > r->head) {
        r->head = head;
        r->grew_at = clock_boot_us();
        breath_needed(true);
    }
}

/* What is written into a page. */
struct page {
    struct reader *r;
    const struct search *s;
    struct segment_file file;
    struct buf body;
    unsigned n;
};

/* What becomes of a record of a page, and of the page, besides 0 and INDEX_ codes. */
enum {
    PAGE_FULL = 1,
    PAGE_ALTERED = -10,            /* the line is not in the log any more, and the index is what it was */
    PAGE_LATER = -11               /* there was no memory */
};

/* The index and the log do not agree. Only the first record of a page is judged: the page before it ends there. */
static int no_line(struct page *p, const struct place *place, struct err *e)
{
    int result = p->n ? PAGE_FULL : index_confirm(p->r->index, place->seq, e);

    if (result)
        return result;
    err_set(e, ERR_INTERNAL, "record %llu of the log is not what it was; `kms-audit verify` judges the log, `kmsd rebuild-index` makes the index anew",
            (unsigned long long)place->seq);
    return PAGE_ALTERED;
}

static void put_record(struct page *p, const struct place *place, const struct buf *line)
{
    char hash[SHA256_HEX];

    if (p->s->lines) {
        buf_put(&p->body, line->data, line->len);
        buf_putc(&p->body, '\n');
    } else {
        hex_encode(place->hash, SHA256_LEN, hash);
        buf_printf(&p->body, "%s{\"hash\":\"%s\",\"record\":", p->n ? "," : "", hash);
        buf_put(&p->body, line->data, line->len);
        buf_putc(&p->body, '}');
    }
    p->n++;
}

static int add_record(struct page *p, const struct place *place, struct err *e)
{
    BUF_AUTO line = BUF_INIT(RECORD_LINE_MAX);

    breath_take();
    if (place_read(&p->file, place, &line, e))
        return no_line(p, place, e);
    JSON_AUTO *record = json_read_object(line.data, line.len, RECORD_LINE_MAX, e);
    if (!record && e->code == ERR_BUSY)
        return PAGE_LATER;
    if (!record || rec_int(record, "seq") != place->seq || !search_matches(p->s, record)) {
        err_set(e, ERR_INTERNAL, "record %llu is not what the index says", (unsigned long long)place->seq);
        return INDEX_SPOILT;
    }
    if (p->n && p->body.len + line.len + 256 > READER_BODY_MAX)
        return PAGE_FULL;
    put_record(p, place, &line);
    return 0;
}

static int write_page(struct page *p, struct index_page *found, struct err *e)
{
    int result = 0;

    if (!p->s->lines)
        buf_printf(&p->body, "{\"indexed\":%llu,\"items\":[", (unsigned long long)p->r->tail.next);
    for (unsigned n = 0; n < found->n && !result; n++)
        result = add_record(p, &found->place[n], e);
    if (result < 0)
        return result;
    if (result == PAGE_FULL) {
        found->more = true;
        found->upto = found->place[p->n - 1].seq;
    }
    if (!p->s->lines && found->more)
        buf_printf(&p->body, "],\"next\":%llu}", (unsigned long long)found->upto);
    else if (!p->s->lines)
        buf_puts(&p->body, "],\"next\":null}");
    return buf_ok(&p->body) ? PAGE_LATER : 0;
}

static void search(struct reader *r, uint64_t id, const struct search *s)
{
    static struct place places[SEARCH_LIMIT_MAX];
    struct index_page at = {.place = places};
    struct page page = {.r = r, .s = s, .file = {r->settings->audit_dir, -1, 0}, .body = BUF_INIT(READER_BODY_MAX + RECORD_LINE_MAX + 4096)};
    struct err e = {0};
    int result = index_find(r->index, s, clock_boot_us() + PAGE_TIME_US, &at, &e);

    if (!result)
        result = write_page(&page, &at, &e);
    if (!result)
        found(r, id, s->lines ? "application/jsonl" : "application/json", buf_span(&page.body), at.more ? &at.upto : NULL);
    else if (result == PAGE_ALTERED)
        missed(r, id, ERR_INTERNAL, e.detail);
    else
        missed(r, id, ERR_BUSY, result == PAGE_LATER ? "there is no memory for a page of the audit log now" : "the index of the audit log cannot be used now");
    segment_file_end(&page.file);
    buf_free(&page.body);
    if (result == PAGE_ALTERED)
        log_line(LOG_LEVEL_ERROR, "log", "text=\"%s\"", e.detail);
    if (result == INDEX_SPOILT || result == INDEX_FAILED)
        work_spoilt(r, e.detail);
}

static int on_search(struct reader *r, const struct frame *f)
{
    char query[SEARCH_QUERY_MAX + 1];
    BUF_AUTO why = BUF_INIT(256);
    struct search s;
    struct err e = {0};

    if (frame_text(f, TAG_QUERY, query, sizeof query) || search_parse(query, &s, &e))
        return -1;
    take_head(r, f);
    work_catch_up(r, clock_boot_us() + CATCH_UP_US);
    r->answer_from = reader_processor_us(); /* the records were to be read anyway */
    if (r->work == WORK_FOLLOW) {
        search(r, f->id, &s);
        return 0;
    }
    if (r->work == WORK_FAILED || r->work == WORK_NONE)
        buf_puts(&why, "the index of the audit log cannot be used now; the log of the service says why");
    else
        buf_printf(&why, "the index of the audit log is being made: %llu of %llu records", (unsigned long long)(r->index ? r->tail.next : 0),
                   (unsigned long long)r->head);
    missed(r, f->id, ERR_BUSY, buf_str(&why));
    return 0;
}

/* Out of the log itself: for this no index is needed. */
static void on_record(struct reader *r, const struct frame *f)
{
    BUF_AUTO line = BUF_INIT(RECORD_LINE_MAX);
    struct err e = {0};

    take_head(r, f);
    if (logscan_line(r->settings->audit_dir, frame_u64(f, TAG_SEQ), &line, &e))
        missed(r, f->id, ERR_INTERNAL, e.detail);
    else
        found(r, f->id, "application/json", buf_span(&line), NULL);
}

static int on_blob(struct reader *r, const struct frame *f)
{
    BUF_AUTO body = BUF_INIT(READER_BLOB_MAX);
    char sha256[SHA256_HEX], actual[SHA256_HEX];
    struct err e = {0};

    if (frame_text(f, TAG_HASH, sha256, sizeof sha256) || strlen(sha256) != SHA256_HEX - 1 || sha256[strspn(sha256, "0123456789abcdef")])
        return -1;
    if (logdir_blob_read(r->settings->audit_dir, sha256, &body, &e)) {
        missed(r, f->id, ERR_NOT_FOUND, "the log has no body of that name");
        return 0;
    }
    sha256_hex(body.len ? (const void *)body.data : "", body.len, actual);
    if (strcmp(actual, sha256))
        missed(r, f->id, ERR_INTERNAL, "the body of that name was altered");
    else
        found(r, f->id, "application/octet-stream", buf_span(&body), NULL);
    return 0;
}

int answer_frame(struct reader *r, const struct frame *f)
{
    switch (f->type) {
    case FRAME_HEAD:
        take_head(r, f);
        reader_tell(r, 0);
        return 0;
    case FRAME_SEARCH: return on_search(r, f);
    case FRAME_RECORD: on_record(r, f); return 0;
    case FRAME_BLOB: return on_blob(r, f);
    default: return -1;
    }
}
