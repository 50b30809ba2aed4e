/* The head reader must give the same verdict and the same bytes however the input is cut, and pass on nothing that was not there. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "kmsd/front/headscan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

/* The parts of a head that passed lie within it and hold nothing that could end a line. */
static void check_parts(const struct headscan *s)
{
    for (unsigned n = 0; n < HEADSCAN_PARTS; n++) {
        struct span part = headscan_part(s, (enum headscan_part)n);

        require(!part.data || (part.data >= s->head && part.data + part.len <= s->head + HEAD_MAX));
        for (size_t i = 0; i < part.len; i++)
            require(part.data[i] == '\t' || (part.data[i] >= 0x20 && part.data[i] < 0x7f));
    }
    require(headscan_part(s, HEADSCAN_METHOD).len && headscan_part(s, HEADSCAN_TARGET).len && headscan_part(s, HEADSCAN_HOST).data);
}

static void run(struct headscan *s, const uint8_t *data, size_t size, size_t step, struct buf *out)
{
    memset(s, 0, sizeof *s);
    for (size_t at = 0; at < size;) {
        uint64_t heads = s->heads;
        size_t taken = headscan_feed(s, span_of(data + at, size - at < step ? size - at : step), out);

        require(taken && taken <= size - at && s->heads - heads <= 1);
        if (s->heads != heads)
            check_parts(s);
        at += taken;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct headscan whole, single;
    BUF_AUTO a = BUF_INIT(1 << 20), b = BUF_INIT(1 << 20);

    if (!size || size > 65536)
        return 0;
    run(&whole, data, size, size, &a);
    run(&single, data, size, 1, &b);
    require(whole.state == single.state && whole.verdict == single.verdict && whole.heads == single.heads && a.len == b.len);
    require(!a.len || (!memcmp(a.data, b.data, a.len) && !memcmp(a.data, data, a.len)));
    return 0;
}
