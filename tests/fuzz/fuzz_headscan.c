/* The head reader must give the same verdict and the same bytes however the input is cut, and pass on nothing that was not there. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "kmsd/front/headscan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void run(struct headscan *s, const uint8_t *data, size_t size, size_t step, struct buf *out)
{
    memset(s, 0, sizeof *s);
    for (size_t at = 0; at < size; at += step)
        headscan_feed(s, span_of(data + at, size - at < step ? size - at : step), out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct headscan whole, single;
    BUF_AUTO a = BUF_INIT(1 << 20), b = BUF_INIT(1 << 20);

    if (!size || size > 65536)
        return 0;
    run(&whole, data, size, size, &a);
    run(&single, data, size, 1, &b);
    if (whole.state != single.state || whole.verdict != single.verdict || a.len != b.len || (a.len && memcmp(a.data, b.data, a.len)) ||
        (a.len && memcmp(a.data, data, a.len)))
        abort();
    return 0;
}
