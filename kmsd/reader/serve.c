/* The loop of the reader: answers first, then a piece of work on the index. */
#include <poll.h>
#include <string.h>

#include "base/fsutil.h"
#include "base/log.h"
#include "kmsd/reader/reader.h"

#define CORE_FD 3
#define EXIT_BROKEN 1              /* never EXIT_REFUSES: the service is served without a reader */
#define LOOK_MS 1000
#define NO_INDEX_S 300             /* the next process tries again: each one that ends leaves a record */
#define REST_TIMES 16              /* the time of an answer, after it */
#define REST_MAX_US INT64_C(40000)
#define GROWING_US INT64_C(1000000) /* a log whose last record is younger is one that others wait for */

void reader_tell(struct reader *r, uint64_t id)
{
    struct buf *out = &r->stream.out;
    size_t mark = frame_begin(out, FRAME_HEAD, id);
    bool usable = r->work == WORK_FOLLOW;

    r->told = usable ? r->tail.next : 0;
    r->told_at = clock_boot_us();
    frame_put_u64(out, TAG_HEAD, r->told);
    frame_put_str(out, TAG_REASON, work_word(r));
    frame_end(out, mark);
    r->gone = r->gone || stream_flush(&r->stream) < 0;
}

static void hello(struct reader *r)
{
    size_t mark = frame_begin(&r->stream.out, FRAME_HELLO, 0);

    frame_put_str(&r->stream.out, TAG_SANDBOX, r->sandbox);
    frame_end(&r->stream.out, mark);
}

/* After an answer, while signatures are made. To run last of all is not enough: the core, the door and the caller, who handle each page too, do not. */
static void rest(struct reader *r, int64_t began)
{
    int64_t now = clock_boot_us(), us = REST_TIMES * (now - began);

    if (now - r->grew_at < GROWING_US)
        r->rest_until = now + (us < REST_MAX_US ? us : REST_MAX_US);
}

/* 0 = go on, else leave with this exit code. */
static int serve_frames(struct reader *r)
{
    int64_t began = clock_boot_us();
    struct err e = {0};
    struct frame f;
    int got = 0;

    if (began < r->rest_until)
        return 0;
    for (r->rest_until = 0; !r->rest_until && (got = stream_next(&r->stream, &f, &e)) > 0; began = clock_boot_us()) {
        if (answer_frame(r, &f) || buf_ok(&r->stream.out)) {
            log_line(LOG_LEVEL_ERROR, "frame", "type=%u text=\"not for the reader\"", f.type);
            return EXIT_BROKEN;
        }
        r->gone = r->gone || stream_flush(&r->stream) < 0;
        if (f.type != FRAME_HEAD)
            rest(r, began);
    }
    if (got < 0)
        log_line(LOG_LEVEL_ERROR, "frame", "text=\"%s\"", e.detail);
    return got < 0 ? EXIT_BROKEN : 0;
}

static int wait_ms(const struct reader *r)
{
    int64_t left = r->rest_until - clock_boot_us();

    if (!work_waits(r))
        return 0;
    if (!r->rest_until)
        return LOOK_MS;
    return left > 0 ? (int)((left + 999) / 1000) : 0; /* frames may be waiting already */
}

static void wait(const struct reader *r, int more)
{
    struct pollfd p = {.fd = r->stream.fd, .events = (short)(POLLIN | (more > 0 ? POLLOUT : 0))};

    (void)poll(&p, 1, wait_ms(r));
}

static int loop(struct reader *r)
{
    int code = 0;

    hello(r);
    while (!code && !r->gone) {
        int more = stream_flush(&r->stream), got;

        if (more < 0)
            break;
        wait(r, more);
        got = stream_fill(&r->stream);
        if (got < 0)
            break;
        code = serve_frames(r);
        if (!code)
            work_step(r);
    }
    return code;
}

int reader_serve(const struct settings *s, const char *no_index)
{
    struct reader r = {.settings = s, .tail = {.fd = -1}};
    struct err e = {0};
    int code;

    if (sandbox_enter(SANDBOX_READER, s, r.sandbox, &e)) {
        log_line(LOG_LEVEL_ERROR, "start", "text=\"%s\"", e.detail);
        return EXIT_BROKEN;
    }
    stream_init(&r.stream, CORE_FD);
    if (no_index) {
        log_line(LOG_LEVEL_ERROR, "index", "retry_s=%d text=\"%s\"", NO_INDEX_S, no_index);
        r.work = WORK_NONE;
        r.retry_at = clock_boot_us() + NO_INDEX_S * INT64_C(1000000);
    }
    code = loop(&r);
    work_end(&r);
    stream_close(&r.stream);
    return code;
}
