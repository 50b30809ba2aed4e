/* The loop of the reader: answers first, then a piece of work on the index. */
#include <poll.h>
#include <string.h>
#include <time.h>

#include "base/fsutil.h"
#include "base/log.h"
#include "kmsd/reader/breath.h"
#include "kmsd/reader/reader.h"

#define CORE_FD 3
#define EXIT_BROKEN 1              /* never EXIT_REFUSES: the service is served without a reader */
#define LOOK_MS 1000
#define NO_INDEX_S 300             /* the next process tries again: each one that ends leaves a record */
#define SHARE 32                   /* answers get one part in so many of a processor while signatures are made, */
#define SAVED_MAX_US INT64_C(20000) /* and what they left of it until then, up to that */
#define REST_MAX_US INT64_C(200000)
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

int64_t reader_processor_us(void)
{
    struct timespec t;

    return clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t) ? 0 : (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* Were signatures made then? Each is a record. */
static bool growing(const struct reader *r, int64_t at)
{
    return at - r->grew_at < GROWING_US;
}

/* After an answer, while signatures are made. To run last of all is not enough: the core, the door and the caller, who handle each page too, do not. */
static void rest(struct reader *r)
{
    int64_t now = clock_boot_us(), left = r->left_us + (now - r->left_at) / SHARE;

    left = (left < SAVED_MAX_US ? left : SAVED_MAX_US) - (reader_processor_us() - r->answer_from);
    if (left < 0)
        left = !growing(r, r->answer_at) ? 0 : left > -REST_MAX_US / SHARE ? left : -REST_MAX_US / SHARE;
    r->left_us = left;
    r->left_at = now;
    if (left < 0)
        r->rest_until = now - left * SHARE;
}

/* 0 = go on, else leave with this exit code. */
static int serve_frames(struct reader *r)
{
    struct err e = {0};
    struct frame f;
    int got = 0;

    if (clock_boot_us() < r->rest_until)
        return 0;
    for (r->rest_until = 0; !r->rest_until && (got = stream_next(&r->stream, &f, &e)) > 0;) {
        r->answer_at = clock_boot_us();
        r->answer_from = reader_processor_us();
        if (answer_frame(r, &f) || buf_ok(&r->stream.out)) {
            log_line(LOG_LEVEL_ERROR, "frame", "type=%u text=\"not for the reader\"", f.type);
            return EXIT_BROKEN;
        }
        r->gone = r->gone || stream_flush(&r->stream) < 0;
        if (f.type != FRAME_HEAD)
            rest(r);
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
        breath_needed(growing(r, clock_boot_us()));
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
