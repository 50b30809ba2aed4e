/* Adds records of the log to the index. */
#include "kmsd/reader/fill.h"

#include "base/fsutil.h"

static int add_one(struct index *x, const json_t *record, const struct place *place, struct err *e)
{
    struct row row = {0};

    if (row_of(record, &row, e))
        return FILL_LOG;
    row.place = *place;
    return index_add(x, &row, e);
}

int fill_some(struct index *x, struct tail *t, uint64_t head, unsigned max, int64_t until, struct err *e)
{
    unsigned n = 0;
    int result;

    if (t->next >= head)
        return 0;
    result = index_begin(x, e);
    while (!result && n < max && (n == 0 || n % 64 || clock_boot_us() < until)) {
        json_t *record = NULL;
        struct place place;
        int got = tail_next(t, head, &record, &place, e);

        if (got <= 0) {
            result = got < 0 ? FILL_LOG : 0;
            break;
        }
        result = add_one(x, record, &place, e);
        json_decref(record);
        n++;
    }
    if (!result)
        result = index_commit(x, e);
    return result ? result : (int)n;
}
