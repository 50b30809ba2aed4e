/* Keeps the index up: opened and checked, rebuilt where it cannot be used, filled behind the log. */
#include <string.h>

#include "base/fsutil.h"
#include "base/log.h"
#include "kmsd/reader/reader.h"

#define BATCH 5000                 /* records from one look at what the core says to the next */
#define BATCH_US INT64_C(50000)
#define BEHIND 65536u              /* an index that lacks more records than that is not asked before it has them */
#define PAUSE_FIRST_US INT64_C(5000000)
#define PAUSE_MAX_US INT64_C(600000000)
#define WORD_US INT64_C(500000)    /* so often the core hears of long work */
#define REBUILD_US INT64_C(60000000) /* an index that is spoilt again so soon is not rebuilt at once */

const char *work_word(const struct reader *r)
{
    static const char *const words[] = {[WORK_WAIT] = "starting", [WORK_OPEN] = "checking", [WORK_LOAD] = "rebuilding", [WORK_FOLLOW] = "following",
                                        [WORK_FAILED] = "failed", [WORK_NONE] = "failed"};

    return words[r->work];
}

/* Out of a long call into SQLite: the core hears that this process is alive. */
static bool go_on(void *ctx)
{
    struct reader *r = ctx;

    if (!r->gone && clock_boot_us() - r->told_at >= WORD_US)
        reader_tell(r, 1);
    return !r->gone;
}

static void drop(struct reader *r)
{
    index_close(r->index);
    r->index = NULL;
    tail_end(&r->tail);
}

static void enter(struct reader *r, enum work work)
{
    r->work = work;
    reader_tell(r, 1);
}

static void failed(struct reader *r, const char *why)
{
    r->pause = !r->pause ? PAUSE_FIRST_US : 2 * r->pause < PAUSE_MAX_US ? 2 * r->pause : PAUSE_MAX_US;
    r->retry_at = clock_boot_us() + r->pause;
    if (!r->gone)
        log_line(LOG_LEVEL_ERROR, "index", "retry_s=%lld text=\"%s\"", (long long)(r->pause / 1000000), why);
    drop(r);
    enter(r, WORK_FAILED);
}

void work_spoilt(struct reader *r, const char *why)
{
    r->spoilt = true;
    if (r->rebuilt_at && clock_boot_us() - r->rebuilt_at < REBUILD_US) {
        failed(r, why);
        return;
    }
    log_line(LOG_LEVEL_WARNING, "index", "text=\"%s; it is rebuilt\"", why);
    drop(r);
    enter(r, WORK_OPEN);
}

static void broken(struct reader *r, int result, const char *why)
{
    if (result == INDEX_SPOILT)
        work_spoilt(r, why);
    else
        failed(r, why);
}

/* Whole, and of this log? */
static int open_old(struct reader *r, const struct index_watch *watch, struct err *e)
{
    struct place last;
    int result = index_open(r->settings->index, watch, &r->index, e);

    if (result)
        return result;
    result = index_last(r->index, &last, e);
    if (result < 0)
        return result;
    if (!result)
        tail_start(&r->tail, r->settings->audit_dir);
    if (!result || (last.seq < r->head && !tail_resume(&r->tail, r->settings->audit_dir, &last, e)))
        return 0;
    err_set(e, ERR_INTERNAL, "the index %s is not of this log, or ahead of it", r->settings->index);
    return INDEX_SPOILT;
}

static void open_index(struct reader *r)
{
    const struct index_watch watch = {go_on, r};
    struct err e = {0};
    int result = r->spoilt ? INDEX_SPOILT : open_old(r, &watch, &e);

    r->scrubbed = 0;
    if (!result) {
        r->scrub_end = index_blocks(r->index);
        enter(r, r->head - r->tail.next > BEHIND ? WORK_LOAD : WORK_FOLLOW);
        return;
    }
    if (result != INDEX_SPOILT) {
        r->spoilt = true; /* the next time it is not tried again but made anew, if that can be */
        failed(r, e.detail);
        return;
    }
    if (!r->spoilt)
        log_line(e.code == ERR_NOT_FOUND ? LOG_LEVEL_INFO : LOG_LEVEL_WARNING, "index", "text=\"%s; it is made from the log\"", e.detail);
    drop(r);
    if (index_create(r->settings->index, &watch, &r->index, &e)) {
        failed(r, e.detail);
        return;
    }
    tail_start(&r->tail, r->settings->audit_dir);
    r->spoilt = false;
    r->scrub_end = 0;
    r->rebuilt_at = clock_boot_us();
    enter(r, WORK_LOAD);
}

/* -1: it has been dealt with. */
static int fill_batch(struct reader *r)
{
    struct err e = {0};
    int result = fill_some(r->index, &r->tail, r->head, BATCH, clock_boot_us() + BATCH_US, &e);

    if (result < 0) {
        broken(r, result, e.detail);
        return -1;
    }
    if (!result && r->tail.next < r->head) {
        failed(r, "the log has fewer records than the service wrote");
        return -1;
    }
    if (clock_boot_us() - r->told_at >= WORD_US)
        reader_tell(r, 1);
    return 0;
}

static void load(struct reader *r)
{
    if (fill_batch(r) || r->tail.next < r->head)
        return;
    log_line(LOG_LEVEL_INFO, "index", "records=%llu text=\"the index is complete\"", (unsigned long long)r->tail.next);
    enter(r, WORK_FOLLOW);
}

/* What an index that was there before holds is looked through where there is nothing better to do. */
static void scrub(struct reader *r)
{
    struct err e = {0};
    int result = r->scrubbed < r->scrub_end ? index_scrub(r->index, r->scrubbed++, &e) : 0;

    if (result && result != INDEX_LATE)
        broken(r, result, e.detail);
}

static void follow(struct reader *r)
{
    if (!index_in_place(r->index)) {
        work_spoilt(r, "the file of the index was taken away");
        return;
    }
    if (fill_batch(r) || r->tail.next < r->head)
        return;
    r->pause = 0;
    if (r->told != r->tail.next)
        reader_tell(r, 1);
    scrub(r);
}

void work_step(struct reader *r)
{
    switch (r->work) {
    case WORK_OPEN: open_index(r); break;
    case WORK_LOAD: load(r); break;
    case WORK_FOLLOW: follow(r); break;
    case WORK_FAILED:
        if (clock_boot_us() >= r->retry_at)
            enter(r, WORK_OPEN);
        break;
    case WORK_WAIT:
        if (r->head)
            enter(r, WORK_OPEN);
        break;
    case WORK_NONE: r->gone = clock_boot_us() >= r->retry_at; break;
    }
}

bool work_waits(const struct reader *r)
{
    switch (r->work) {
    case WORK_OPEN:
    case WORK_LOAD: return false;
    case WORK_FOLLOW: return r->tail.next >= r->head && r->scrubbed == r->scrub_end;
    case WORK_NONE:
    case WORK_FAILED: return clock_boot_us() < r->retry_at;
    case WORK_WAIT: break;
    }
    return !r->head;
}

void work_catch_up(struct reader *r, int64_t until)
{
    while (r->work == WORK_FOLLOW && r->tail.next < r->head && clock_boot_us() < until)
        follow(r);
}

void work_end(struct reader *r)
{
    drop(r);
}
