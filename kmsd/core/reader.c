/* What is asked about the past: forwarded to the reader's process, a few questions at a time and never for long. */
#include <string.h>

#include "audit/search.h"
#include "base/num.h"
#include "kmsd/core/internal.h"

#define ANSWER_TIME (8 * TIME_SECOND_US) /* what a caller waits for at most */
#define ASKED_BY_ONE 4                   /* of READER_ASKED_MAX */
#define SLOW_TICKS 30                    /* of 100 ms: a reader that was silent so long gets nothing new to do */
#define SILENT_TICKS 300                 /* and one that was silent so long is ended */

/* The reader owes a word: it answers every question and every head, and speaks up while it works on something long. */
static bool owes(const struct core_reader *r)
{
    return r->n_asked || r->late || r->head_open || r->state == READER_STARTING;
}

static void ask_end(struct core_reader *r, unsigned n)
{
    r->asked[n] = r->asked[--r->n_asked];
}

/* Nobody waits for a reader that is gone, or for one that takes too long; what it still says to that is not heard. */
static void fail(struct core *c, unsigned n, const char *why)
{
    struct request *rq = c->reader.asked[n].rq;
    struct err e = {.retry_after = 2};

    ask_end(&c->reader, n);
    err_set(&e, ERR_BUSY, "%s", why);
    request_refuse(c, rq, &e);
}

static void fail_all(struct core *c, const char *why)
{
    while (c->reader.n_asked)
        fail(c, c->reader.n_asked - 1, why);
}

/* One who asks at once for all that there is leaves others a place. */
static bool has_enough(const struct core_reader *r, const struct request *rq)
{
    unsigned own = 0;

    for (unsigned n = 0; n < r->n_asked; n++)
        own += !strcmp(r->asked[n].rq->identity, rq->identity);
    return own >= ASKED_BY_ONE;
}

static int ask_begin(struct core *c, struct request *rq, uint64_t *id, struct err *e)
{
    struct core_reader *r = &c->reader;
    const char *why = r->state == READER_DOWN || r->state == READER_STARTING ? "the process that reads the audit log is being started"
                      : r->silent > SLOW_TICKS                              ? "the process that reads the audit log does not answer"
                      : r->n_asked == READER_ASKED_MAX                      ? "too many searches are being worked on"
                      : has_enough(r, rq)                                   ? "as many searches of yours are being worked on as may be at once"
                                                                            : NULL;

    if (why) {
        e->retry_after = 2;
        return err_set(e, ERR_BUSY, "%s", why);
    }
    if (!owes(r))
        r->silent = 0;
    *id = ++r->next_id;
    r->asked[r->n_asked++] = (struct core_ask){*id, rq, c->clock.boot + ANSWER_TIME};
    return 0;
}

static void send(struct core *c, struct buf *frame, size_t mark)
{
    frame_end(frame, mark);
    c->io.send(c->io.ctx, CHILD_READER, 0, frame);
}

int audit_records(struct core *c, struct request *rq, struct err *e)
{
    BUF_AUTO frame = BUF_INIT(8192);
    struct search s;
    uint64_t id;
    size_t mark;

    if (search_parse(rq->query, &s, e) || authorise(c, rq, NULL, NULL, NULL, e) || ask_begin(c, rq, &id, e))
        return -1;
    mark = frame_begin(&frame, FRAME_SEARCH, id);
    frame_put(&frame, TAG_QUERY, span_of(rq->query, strlen(rq->query)));
    frame_put_u64(&frame, TAG_HEAD, c->durable);
    send(c, &frame, mark);
    return 0;
}

int audit_record(struct core *c, struct request *rq, struct err *e)
{
    static const char *const none[] = {NULL};
    BUF_AUTO frame = BUF_INIT(256);
    uint64_t id, seq;
    size_t mark;

    if (query_check(rq, none, e) || authorise(c, rq, NULL, NULL, NULL, e))
        return -1;
    if (num_parse_u64(rq->param, strlen(rq->param), 0, JSON_INT_MAX, &seq))
        return err_set(e, ERR_NOT_FOUND, "a record has a number from 0 on");
    if (seq >= c->durable)
        return err_set(e, ERR_NOT_FOUND, "the log has no record %llu", (unsigned long long)seq);
    if (ask_begin(c, rq, &id, e))
        return -1;
    mark = frame_begin(&frame, FRAME_RECORD, id);
    frame_put_u64(&frame, TAG_SEQ, seq);
    frame_put_u64(&frame, TAG_HEAD, c->durable);
    send(c, &frame, mark);
    return 0;
}

int audit_blob(struct core *c, struct request *rq, struct err *e)
{
    static const char *const none[] = {NULL};
    BUF_AUTO frame = BUF_INIT(256);
    uint64_t id;
    size_t mark;

    if (query_check(rq, none, e) || authorise(c, rq, NULL, NULL, NULL, e))
        return -1;
    if (strlen(rq->param) != SHA256_HEX - 1 || rq->param[strspn(rq->param, "0123456789abcdef")])
        return err_set(e, ERR_NOT_FOUND, "a body is named by its SHA-256, 64 lower-case hexadecimal characters");
    if (ask_begin(c, rq, &id, e))
        return -1;
    mark = frame_begin(&frame, FRAME_BLOB, id);
    frame_put_str(&frame, TAG_HASH, rq->param);
    send(c, &frame, mark);
    return 0;
}

/* The same target, after the last record of this page (RFC 8288). */
static void link_next(const struct request *rq, uint64_t after, struct buf *out)
{
    buf_printf(out, "<%s?", rq->path);
    for (const char *at = rq->query; *at;) {
        size_t len = strcspn(at, "&");

        if (strncmp(at, "after=", 6)) {
            buf_put(out, at, len);
            buf_putc(out, '&');
        }
        at += len + (at[len] == '&');
    }
    buf_printf(out, "after=%llu>; rel=\"next\"", (unsigned long long)after);
}

/* What a header says is the core's: the reader only chooses. */
static const char *known_type(const char *type)
{
    static const char *const types[] = {"application/json", "application/jsonl", "application/octet-stream"};

    for (size_t n = 0; n < sizeof types / sizeof *types; n++)
        if (!strcmp(types[n], type))
            return types[n];
    return NULL;
}

static int answer(struct core *c, struct request *rq, const struct frame *f)
{
    BUF_AUTO link = BUF_INIT(2 * TARGET_MAX);
    char type[64], reason[256];
    uint64_t code = frame_u64(f, TAG_CODE);
    struct err e = {0};

    if (f->type == FRAME_FOUND) {
        if (frame_text(f, TAG_CONTENT_TYPE, type, sizeof type) || !known_type(type))
            return -1;
        if (frame_has(f, TAG_SEQ))
            link_next(rq, frame_u64(f, TAG_SEQ), &link);
        reply(c, rq, &(struct reply_head){.status = 200, .content_type = type, .link = link.len ? buf_str(&link) : NULL}, f->field[TAG_BODY]);
        return 0;
    }
    if ((code != ERR_NOT_FOUND && code != ERR_BUSY && code != ERR_INTERNAL) || frame_text(f, TAG_REASON, reason, sizeof reason))
        return -1;
    e.retry_after = code == ERR_BUSY ? 5 : 0;
    err_set(&e, (enum err_code)code, "%s", reason);
    request_refuse(c, rq, &e);
    return 0;
}

static void tell_head(struct core *c)
{
    struct core_reader *r = &c->reader;
    BUF_AUTO frame = BUF_INIT(64);
    size_t mark;

    if (r->head_open || r->told == c->durable)
        return;
    if (!owes(r))
        r->silent = 0;
    r->told = c->durable;
    r->head_open = true;
    mark = frame_begin(&frame, FRAME_HEAD, 0);
    frame_put_u64(&frame, TAG_HEAD, c->durable);
    send(c, &frame, mark);
}

/* Where its index stands, and what it does meanwhile. */
static int on_head(struct core *c, const struct frame *f)
{
    struct core_reader *r = &c->reader;
    char what[READER_TEXT];

    if (r->state == READER_STARTING || frame_text(f, TAG_REASON, what, sizeof what) || frame_u64(f, TAG_HEAD) > c->durable)
        return -1;
    if (strcmp(what, r->what))
        c->io.note(c->io.ctx, CORE_NOTE_INFO, "reader", what);
    memcpy(r->what, what, sizeof what);
    r->indexed = frame_u64(f, TAG_HEAD);
    r->head_open = f->id ? r->head_open : false;
    return 0;
}

int reader_frame(struct core *c, const struct frame *f)
{
    struct core_reader *r = &c->reader;
    struct request *rq;

    if (r->state == READER_DOWN)
        return 0; /* its end was asked for: what it still says is ignored */
    r->silent = 0;
    r->late = false;
    if (f->type == FRAME_HELLO) {
        if (r->state != READER_STARTING)
            return -1;
        r->state = READER_UP;
        c->io.proved(c->io.ctx, CHILD_READER, 0);
        tell_head(c);
        return 0;
    }
    if (f->type == FRAME_HEAD)
        return on_head(c, f);
    if (f->type != FRAME_FOUND && f->type != FRAME_MISSED)
        return -1;
    for (unsigned n = 0; n < r->n_asked; n++)
        if (r->asked[n].id == f->id) {
            rq = r->asked[n].rq;
            ask_end(r, n);
            if (!answer(c, rq, f))
                return 0;
            r->asked[r->n_asked++] = (struct core_ask){f->id, rq, 0}; /* nonsense: answered when this child's end comes */
            return -1;
        }
    return f->id && f->id <= r->next_id ? 0 : -1;
}

void reader_child(struct core *c, bool up)
{
    c->reader.state = up ? READER_STARTING : READER_DOWN;
    c->reader.head_open = c->reader.late = false;
    c->reader.told = c->reader.indexed = 0;
    c->reader.silent = 0;
    c->reader.what[0] = '\0';
    fail_all(c, "the process that reads the audit log ended; another one is being started");
}

void reader_tick(struct core *c)
{
    struct core_reader *r = &c->reader;

    if (c->stopping)
        fail_all(c, "the service is stopping");
    for (unsigned n = r->n_asked; n-- > 0;)
        if (c->clock.boot >= r->asked[n].deadline) {
            r->late = true;
            fail(c, n, "the search did not end in time; ask for less, or again");
        }
    if (r->state == READER_DOWN)
        return;
    r->silent = owes(r) ? r->silent + 1 : 0;
    if (r->silent > SILENT_TICKS) {
        c->io.kill(c->io.ctx, CHILD_READER, 0, "silent");
        r->state = READER_DOWN;
        fail_all(c, "the process that reads the audit log does not answer; another one is being started");
    } else if (r->state == READER_UP) {
        tell_head(c);
    }
}

const char *reader_word(const struct core *c)
{
    const struct core_reader *r = &c->reader;

    if (r->state == READER_DOWN)
        return "down";
    return r->state == READER_STARTING ? "starting" : r->silent > SLOW_TICKS ? "silent" : r->what[0] ? r->what : "starting";
}
