/* The loop of a lane: start under the lock, then read what is there, answer, flush. */
#include "kmsd/token/lane.h"

#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fsutil.h"
#include "base/log.h"

#define LOCK_WAIT_MS 30000
#define EXIT_BROKEN 1

/* Two processes that log in at the same moment can miss the token: lanes start one after another. A lane that failed keeps the lock until its
 * process ends, so that kmsd hears of a refused PIN, and stops the others, before the next lane has come as far as trying it. */
static int open_locked(struct lane *l, struct fault *f)
{
    struct err e = {0};
    int lock = lock_file(l->settings->tokens_lock, LOCK_WAIT_MS, &e), bad;

    if (lock < 0)
        return fault_err(f, LANE_TOKEN, &e);
    bad = token_open(&l->token, &l->settings->keys, f);
    if (!bad)
        (void)close(lock);
    return bad;
}

/* Without its certificate authority the lane still makes keys; ISSUE says what is missing. */
static void open_authority(struct lane *l)
{
    struct fault f;

    if (authority_open(&l->token, l->settings->client_ca[0], &l->authority, &f))
        log_line(LOG_LEVEL_ERROR, "no-authority", "reason=\"%s\"", f.reason);
}

static void hello(struct lane *l)
{
    BUF_AUTO text = BUF_INIT(8192);
    size_t mark = frame_begin(&l->stream.out, FRAME_HELLO, 0);

    json_canonical(&text, l->token.description);
    frame_put(&l->stream.out, TAG_TOKEN, buf_span(&text));
    frame_end(&l->stream.out, mark);
}

/* Answers every whole frame that arrived. 0 = go on, else leave with this exit code. */
static int serve_all(struct lane *l)
{
    struct err e = {0};
    struct frame in;
    int got;

    while ((got = stream_next(&l->stream, &in, &e)) > 0) {
        int code = verb_serve(l, &in);

        if (code < 0) {
            log_line(LOG_LEVEL_ERROR, "frame", "type=%u detail=\"not for a lane\"", in.type);
            return EXIT_BROKEN;
        }
        if (code || buf_ok(&l->stream.out))
            return code ? code : EXIT_BROKEN;
    }
    if (!got)
        return 0;
    log_line(LOG_LEVEL_ERROR, "frame", "detail=\"%s\"", e.detail);
    return EXIT_BROKEN;
}

/* Until everything is written nothing more is read, so that what waits for the core stays bounded. -1 = the core is gone. */
static int flush_all(struct lane *l)
{
    struct pollfd p = {.fd = l->stream.fd, .events = POLLOUT};
    int more;

    while ((more = stream_flush(&l->stream)) > 0)
        if (poll(&p, 1, -1) < 0)
            (void)0; /* interrupted: flush says what is the matter */
    return more;
}

static int serve_loop(struct lane *l)
{
    struct pollfd p = {.fd = l->stream.fd, .events = POLLIN};
    int code = 0;

    hello(l);
    while (!flush_all(l) && !code) {
        int got = stream_fill(&l->stream);

        if (got < 0)
            return 0;
        if (got)
            code = serve_all(l);
        else
            (void)poll(&p, 1, -1);
    }
    return code;
}

static void close_lane(struct lane *l)
{
    for (size_t n = 0; n < l->n_keys; n++)
        key_clear(&l->keys[n]);
    free(l->keys);
    authority_close(&l->authority);
    token_close(&l->token);
    stream_close(&l->stream);
}

int lane_run(const struct settings *s, bool admin, unsigned index)
{
    struct lane l = {.settings = s, .admin = admin, .index = index};
    struct fault f = {0};
    int code;

    stream_init(&l.stream, LANE_FD);
    if (open_locked(&l, &f)) {
        log_line(LOG_LEVEL_ERROR, "lane-start", "lane=%s-%u reason=\"%s\"", admin ? "admin" : "sign", index, f.reason);
        code = f.class == LANE_HUMAN ? EXIT_PIN : EXIT_BROKEN;
    } else {
        if (admin)
            open_authority(&l);
        code = serve_loop(&l);
    }
    close_lane(&l);
    return code;
}
