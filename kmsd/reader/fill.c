/* Adds records of the log to the index. */
#include "kmsd/reader/fill.h"

#include "base/fsutil.h"
#include "kmsd/reader/breath.h"

int fill_some(struct index *x, struct tail *t, uint64_t head, unsigned max, int64_t until, struct err *e)
{
    unsigned n = 0;

    while (n < max && (n == 0 || n % 64 || clock_boot_us() < until)) {
        struct row row;
        int got = tail_next(t, head, &row, e), result = got < 0 ? FILL_LOG : got ? index_add(x, &row, e) : 0;

        if (result)
            return result;
        if (!got)
            break;
        n++;
        breath_take();
    }
    return (int)n;
}
