/* The loop of a lane: start under the lock, then read what is there, answer, flush. */
#include "kmsd/token/lane.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fsutil.h"
#include "base/log.h"
#include "base/num.h"
#include "kmsd/sandbox/sandbox.h"
#include "kmsd/token/latch.h"

#define LOCK_WAIT_MS 30000
#define AWAY_MS 250
#define AWAY_TRIES "KMSD_AWAY_TRIES" /* how often this process has looked before, in the environment of the next image */
#define AWAY_QUIET 240               /* told once a minute */
#define AWAY_REASON_MAX 150
#define TELL_US 2000      /* signatures wait for each other so long, */
#define TELL_SHARE 4      /* or until they are that part of what waits behind them: who has many slow ones before him does not notice a few more, */
#define TELL_MAX_US 20000 /* and never longer */
#define EXIT_BROKEN 1

/* Two processes that log in at the same moment can miss the token: lanes start one after another. A refused PIN sets the latch before the lock is let
 * go, so that the next lane does not try it again. */
static int open_locked(struct lane *l, struct fault *f)
{
    struct err e = {0};
    int lock = lock_file(l->settings->tokens_lock, LOCK_WAIT_MS, &e), bad;

    if (lock < 0)
        return fault_err(f, LANE_TOKEN, &e);
    bad = latch_check(l->settings, f) || token_open(&l->token, &l->settings->keys, f);
    if (bad && f->class == LANE_HUMAN && !f->untried)
        latch_set(l->settings, f->reason);
    (void)close(lock);
    return bad;
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

static void say_away(struct lane *l, const char *reason)
{
    size_t n = strnlen(reason, AWAY_REASON_MAX), mark = frame_begin(&l->stream.out, FRAME_AWAY, 0);

    while (reason[n] && n && ((uint8_t)reason[n] & 0xC0) == 0x80)
        n--; /* not through the middle of a character */
    frame_put(&l->stream.out, TAG_REASON, span_of(reason, n));
    frame_end(&l->stream.out, mark);
}

/* Tells the core, waits, and begins anew. Comes back only when the core is gone (0) or the program cannot be run again. */
static int look_again(struct lane *l, char **argv, const struct fault *f)
{
    struct pollfd core = {.fd = l->stream.fd, .events = POLLIN};
    const char *before = getenv(AWAY_TRIES);
    BUF_AUTO tries = BUF_INIT(32);
    uint64_t n = 0;

    if (before && num_parse_u64(before, strlen(before), 0, UINT32_MAX, &n))
        n = 0;
    if (n % AWAY_QUIET == 0)
        log_line(LOG_LEVEL_WARNING, "lane-away", "lane=%s-%u reason=\"%s\"", l->admin ? "admin" : "sign", l->index, f->reason);
    buf_printf(&tries, "%llu", (unsigned long long)n + 1);
    say_away(l, f->reason);
    /* The core says nothing before HELLO: what can be read is its end. */
    if (flush_all(l) || poll(&core, 1, AWAY_MS) > 0)
        return 0;
    if (!setenv(AWAY_TRIES, buf_str(&tries), 1))
        (void)execv(argv[0], argv);
    log_line(LOG_LEVEL_ERROR, "lane-away", "text=\"this program cannot be started again\"");
    return EXIT_BROKEN;
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
    frame_put_str(&l->stream.out, TAG_SANDBOX, l->sandbox);
    frame_end(&l->stream.out, mark);
}

/* Whether what was made of `done` bytes of frames, since `told`, should go now. */
static bool is_time(const struct lane *l, int64_t told, size_t done)
{
    int64_t since = clock_boot_us() - told;

    return since >= TELL_MAX_US || (since >= TELL_US && done * TELL_SHARE >= stream_waiting(&l->stream));
}

/* Answers every whole frame that arrived; what signatures they ask for is verified together. 0 = go on, else leave with this exit code. */
static int serve_all(struct lane *l)
{
    int64_t told = clock_boot_us();
    size_t from = l->stream.in_off;
    struct err e = {0};
    struct frame in;
    int got, code;

    while ((got = stream_next(&l->stream, &in, &e)) > 0) {
        code = verb_serve(l, &in);
        if (code < 0) {
            log_line(LOG_LEVEL_ERROR, "frame", "type=%u detail=\"not for a lane\"", in.type);
            return EXIT_BROKEN;
        }
        if (code || buf_ok(&l->stream.out))
            return code ? code : EXIT_BROKEN;
        if (is_time(l, told, l->stream.in_off - from)) {
            code = verb_settle(l);
            if (code || stream_flush(&l->stream) < 0)
                return code; /* serve_loop sees that the core is gone */
            told = clock_boot_us();
            from = l->stream.in_off;
        }
    }
    code = verb_settle(l);
    if (code)
        return code;
    if (!got)
        return buf_ok(&l->stream.out) ? EXIT_BROKEN : 0;
    log_line(LOG_LEVEL_ERROR, "frame", "detail=\"%s\"", e.detail);
    return EXIT_BROKEN;
}

/* A key whose verifications so far cost as much as a table would gets one, while nobody waits for what is answered already. */
static void tend_tables(struct lane *l)
{
    struct key *due = NULL;
    size_t tables = 0;

    if (!l->table_due)
        return;
    for (size_t n = 0; n < l->n_keys; n++) {
        struct key *k = &l->keys[n];

        if (k->p256 && p256_key_has_table(k->p256))
            tables++;
        else if (!due && k->p256 && k->judged >= LANE_TABLE_AFTER)
            due = k;
    }
    l->table_due = due && tables < LANE_TABLES_MAX && !p256_key_table(due->p256); /* one at a time, then another look */
}

/* Until the core has something; meanwhile signatures are begun that it may ask for. */
static void wait_for_core(struct lane *l)
{
    struct pollfd p = {.fd = l->stream.fd, .events = POLLIN};

    while (ahead_due(&l->token) && !poll(&p, 1, 0))
        ahead_begin(&l->token);
    (void)poll(&p, 1, -1);
}

static int serve_loop(struct lane *l)
{
    int code = 0;

    hello(l);
    while (!flush_all(l) && !code) {
        int got;

        tend_tables(l);
        ahead_tend(&l->token, clock_boot_us());
        got = stream_fill(&l->stream);
        if (got < 0)
            return 0;
        if (got)
            code = serve_all(l);
        else
            wait_for_core(l);
    }
    return code;
}

static void close_lane(struct lane *l)
{
    for (size_t n = 0; n < l->n_keys; n++)
        key_clear(&l->keys[n]);
    free(l->keys);
    p256_batch_free(l->batch);
    authority_close(&l->authority);
    token_close(&l->token);
    stream_close(&l->stream);
}

/* From here on no other program is run. */
static int confined(struct lane *l)
{
    struct err e = {0};

    if (!l->locked)
        log_line(LOG_LEVEL_WARNING, "memory", "lane=%s-%u text=\"copies of the PIN may reach the swap space: raise the memlock limit (LimitMEMLOCK=infinity)\"",
                 l->admin ? "admin" : "sign", l->index);
    if (!sandbox_enter(l->admin ? SANDBOX_LANE_ADMIN : SANDBOX_LANE_SIGN, l->settings, l->sandbox, &e))
        return 0;
    log_line(LOG_LEVEL_ERROR, "lane-start", "lane=%s-%u reason=\"%s\"", l->admin ? "admin" : "sign", l->index, e.detail);
    return -1;
}

/* Why the lane could not start, as an exit code; a token that is away is waited for. */
static int not_started(struct lane *l, char **argv, const struct fault *f)
{
    if (f->class == LANE_TOKEN)
        return look_again(l, argv, f);
    log_line(LOG_LEVEL_ERROR, "lane-start", "lane=%s-%u reason=\"%s\"", l->admin ? "admin" : "sign", l->index, f->reason);
    return f->class != LANE_HUMAN ? EXIT_BROKEN : f->untried ? LANE_EXIT_SETTINGS : LANE_EXIT_SEALED;
}

int lane_run(const struct settings *s, bool admin, unsigned index, char **argv)
{
    struct lane l = {.settings = s, .admin = admin, .index = index};
    struct fault f = {0};
    int code;

    l.locked = process_lock_memory(); /* before there is a PIN: libp11 and modules keep copies of it */
    stream_init(&l.stream, LANE_FD);
    if (open_locked(&l, &f)) {
        code = not_started(&l, argv, &f);
    } else {
        if (admin)
            open_authority(&l);
        else
            l.batch = p256_batch_new();
        code = confined(&l) ? LANE_EXIT_SETTINGS : serve_loop(&l);
    }
    close_lane(&l);
    return code;
}
