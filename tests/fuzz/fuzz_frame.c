/* Fuzzes frame_next and frame_parse: whatever parses lies within the input and survives being written and parsed again. */
#include <stdlib.h>

#include "base/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void write_again(const struct frame *f, const struct err *parsed)
{
    BUF_AUTO b = BUF_INIT((size_t)FRAME_MAX + 64);
    struct frame g;

    size_t mark = frame_begin(&b, (enum frame_type)f->type, f->id);
    for (unsigned tag = 0; tag < FRAME_TAG_LIMIT; tag++)
        frame_put(&b, (enum frame_tag)tag, f->field[tag]);
    frame_end(&b, mark);
    require(buf_ok(&b) == 0 && parsed->code == ERR_NONE);
    require(frame_parse(buf_span(&b), &g, NULL) == 0 && g.type == f->type && g.id == f->id);
    for (unsigned tag = 0; tag < FRAME_TAG_LIMIT; tag++)
        require(frame_has(f, (enum frame_tag)tag) == frame_has(&g, (enum frame_tag)tag) && span_eq(f->field[tag], g.field[tag]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span left = span_of(data, size);
    struct frame f;
    size_t len = 0;

    while (frame_next(left, &len) > 0) {
        struct err e = {0};
        require(len <= left.len);
        if (frame_parse(span_of(left.data, len), &f, &e) == 0) {
            for (unsigned tag = 0; tag < FRAME_TAG_LIMIT; tag++)
                require(!f.field[tag].data || (f.field[tag].data >= left.data && f.field[tag].data + f.field[tag].len <= left.data + len));
            write_again(&f, &e);
        } else
            require(e.code == ERR_INTERNAL && e.detail[0]);
        left = span_of(left.data + len, left.len - len);
    }
    return 0;
}
