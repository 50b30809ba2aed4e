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

/* 0 = go on, else leave with this exit code. */
static int serve_frames(struct reader *r)
{
    struct err e = {0};
    struct frame f;
    int got;

    while ((got = stream_next(&r->stream, &f, &e)) > 0) {
        if (answer_frame(r, &f) || buf_ok(&r->stream.out)) {
            log_line(LOG_LEVEL_ERROR, "frame", "type=%u text=\"not for the reader\"", f.type);
            return EXIT_BROKEN;
        }
        r->gone = r->gone || stream_flush(&r->stream) < 0;
    }
    if (got < 0)
        log_line(LOG_LEVEL_ERROR, "frame", "text=\"%s\"", e.detail);
    return got < 0 ? EXIT_BROKEN : 0;
}

static void wait(const struct reader *r, int more)
{
    struct pollfd p = {.fd = r->stream.fd, .events = (short)(POLLIN | (more > 0 ? POLLOUT : 0))};

    (void)poll(&p, 1, work_waits(r) ? LOOK_MS : 0);
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
        if (got)
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
