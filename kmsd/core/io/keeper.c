/* Writes the anchor after the log. */
#include "kmsd/core/io/keeper.h"

#include <string.h>

#include "base/fsutil.h"
#include "base/log.h"

#define PAUSE_US INT64_C(1000000)

void keeper_init(struct keeper *k, const char *path, const struct anchor *anchor)
{
    *k = (struct keeper){.anchor = *anchor};
    memcpy(k->path, path, strnlen(path, sizeof k->path - 1));
}

void keeper_synced(struct keeper *k, uint64_t first_seq, struct span lines, int64_t boot_us)
{
    const uint8_t *at = lines.data, *end = lines.data + lines.len, *lf;
    struct span last = {0};
    uint64_t seq = first_seq;

    for (; at < end && (lf = memchr(at, '\n', (size_t)(end - at))); at = lf + 1) {
        last = span_of(at, (size_t)(lf - at));
        seq++;
    }
    if (!last.data)
        return;
    sha256_hex(last.data, last.len, k->next_hash);
    k->next_seq = seq - 1;
    if (!k->dirty && k->due < boot_us)
        k->due = boot_us;
    k->dirty = true;
}

static void say(struct keeper *k, const struct err *e)
{
    bool first = !k->problem[0];

    memcpy(k->problem, e->detail, strnlen(e->detail, sizeof k->problem - 1));
    k->problem[sizeof k->problem - 1] = '\0';
    if (first)
        log_line(LOG_LEVEL_ERROR, "anchor", "path=\"%s\" text=\"%s; it is tried again every second\"", k->path, e->detail);
}

/* While this process runs it knows the head of the log: a file that somebody took away can be made again. At a start nobody could. */
static int renew(struct keeper *k, struct err *e)
{
    int64_t now = clock_wall_us();

    if (file_exists(k->path))
        return anchor_file_update(k->path, &k->anchor, now, e);
    k->anchor.counter = anchor_next_counter(k->anchor.counter, now);
    if (anchor_file_create(k->path, &k->anchor, e))
        return -1;
    log_line(LOG_LEVEL_WARNING, "anchor", "path=\"%s\" text=\"the file was gone and was made again\"", k->path);
    return 0;
}

void keeper_write(struct keeper *k, bool last)
{
    struct err e = {0};
    int64_t now = clock_boot_us();

    if (!k->dirty || (!last && now < k->due))
        return;
    k->due = now + PAUSE_US;
    k->anchor.seq = k->next_seq;
    memcpy(k->anchor.hash, k->next_hash, sizeof k->anchor.hash);
    if (renew(k, &e)) {
        say(k, &e);
        return;
    }
    if (k->problem[0])
        log_line(LOG_LEVEL_INFO, "anchor", "path=\"%s\" text=\"written again\"", k->path);
    k->problem[0] = '\0';
    k->dirty = false;
}
