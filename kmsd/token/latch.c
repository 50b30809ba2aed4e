/* Remembers on disk that a token refused its PIN. */
#include "kmsd/token/latch.h"

#include "base/fsutil.h"
#include "base/log.h"
#include "base/timefmt.h"

int latch_check(const struct settings *s, struct fault *f)
{
    char path[PATH_MAX];

    if (settings_latch(s, path, sizeof path))
        return fault_set(f, LANE_TOKEN, "the path of tokens.lock is too long");
    if (!file_exists(path))
        return 0;
    return fault_set(f, LANE_HUMAN, "a token refused its PIN before (%.200s says when and why); no other attempt is made until kmsd unseal", path);
}

void latch_set(const struct settings *s, const char *reason)
{
    BUF_AUTO text = BUF_INIT(1024);
    char path[PATH_MAX], now[TIME_TEXT];
    struct err e = {0};

    time_format(clock_wall_us(), now);
    buf_printf(&text, "%s %.400s\n", now, reason);
    if (settings_latch(s, path, sizeof path) || file_exists(path))
        return;
    if (file_write_atomic(path, text.data, text.len, 0600, &e))
        log_line(LOG_LEVEL_ERROR, "latch", "text=\"%s\"", e.detail);
}

int latch_after(const struct settings *s, int bad, const struct fault *f)
{
    if (bad && f->class == LANE_HUMAN && !f->untried)
        latch_set(s, f->reason);
    return bad;
}
