/* `kmsd-reader --rebuild`: makes the index anew while no reader runs, and says how far it is. */
#include <stdio.h>

#include "audit/logsegments.h"
#include "base/fsutil.h"
#include "kmsd/reader/reader.h"

#define BATCH 20000
#define SAY_US INT64_C(1000000)

static bool go_on(void *ctx)
{
    (void)ctx;
    return true;
}

static void say(const struct tail *t, uint64_t all)
{
    fprintf(stderr, "kmsd rebuild-index: %llu records", (unsigned long long)t->next);
    if (all)
        fprintf(stderr, ", %u %%", (unsigned)(t->bytes >= all ? 100 : t->bytes * 100 / all));
    fputc('\n', stderr);
}

static int build(const struct settings *s, struct tail *t, struct index *x, struct err *e)
{
    int64_t begun = clock_boot_us(), said = begun;
    uint64_t all = segments_bytes(s->audit_dir);
    int result;

    while ((result = fill_some(x, t, UINT64_MAX, BATCH, INT64_MAX, e)) > 0)
        if (clock_boot_us() - said >= SAY_US) {
            said = clock_boot_us();
            say(t, all);
        }
    if (result)
        return result;
    say(t, all);
    printf("%s: %llu records in %.1f s\n", s->index, (unsigned long long)t->next, (double)(clock_boot_us() - begun) / 1e6);
    return 0;
}

int reader_rebuild(const struct settings *s)
{
    const struct index_watch watch = {go_on, NULL};
    struct tail t;
    struct index *x = NULL;
    struct err e = {0};
    int result;

    tail_start(&t, s->audit_dir);
    result = index_create(s->index, &watch, &x, &e);
    if (!result)
        result = build(s, &t, x, &e);
    index_close(x);
    tail_end(&t);
    if (result)
        fprintf(stderr, "kmsd rebuild-index: %s\n", e.detail);
    return result ? 1 : 0;
}
