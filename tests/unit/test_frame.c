/* Tests of base/frame.c. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/frame.h"

static void begin_request(struct buf *b)
{
    frame_put_str(b, TAG_METHOD, "POST");
    frame_put_str(b, TAG_TARGET, "/v1/sign");
    frame_put_str(b, TAG_SOURCE, "192.0.2.1");
    frame_put(b, TAG_CERT, span_of("\x30\x00", 2));
}

static void round_trip(void **state)
{
    BUF_AUTO b = BUF_INIT(4096);
    struct frame f;
    struct err e = {0};
    size_t len = 0;
    char text[16];

    (void)state;
    buf_puts(&b, "xy");
    size_t mark = frame_begin(&b, FRAME_REQUEST, UINT64_C(0x0102030405060708));
    begin_request(&b);
    frame_put(&b, TAG_BODY, span_of("", 0));
    frame_put_str(&b, TAG_IDEMPOTENCY, NULL);
    frame_put(&b, TAG_CONTENT_TYPE, (struct span){0});
    frame_end(&b, mark);
    assert_int_equal(buf_ok(&b), 0);
    struct span whole = span_of(b.data + mark, b.len - mark);
    assert_int_equal(frame_next(whole, &len), whole.len);
    assert_int_equal(len, whole.len);
    assert_int_equal(frame_parse(whole, &f, &e), 0);
    assert_int_equal(f.type, FRAME_REQUEST);
    assert_true(f.id == UINT64_C(0x0102030405060708));
    assert_true(span_eq_str(f.field[TAG_TARGET], "/v1/sign"));
    assert_true(frame_has(&f, TAG_BODY));
    assert_false(frame_has(&f, TAG_IDEMPOTENCY));
    assert_false(frame_has(&f, TAG_CONTENT_TYPE));
    assert_int_equal(frame_text(&f, TAG_METHOD, text, 5), 0);
    assert_string_equal(text, "POST");
    assert_int_equal(frame_text(&f, TAG_METHOD, text, 4), -1);
    assert_int_equal(frame_text(&f, TAG_IDEMPOTENCY, text, sizeof text), -1);
    for (size_t n = 0; n < whole.len; n++)
        assert_int_equal(frame_next(span_of(whole.data, n), &len), 0);
}

static void numbers(void **state)
{
    BUF_AUTO b = BUF_INIT(4096);
    struct frame f;
    struct err e = {0};

    (void)state;
    size_t mark = frame_begin(&b, FRAME_CHILD, 0);
    frame_put_u64(&b, TAG_ROLE, CHILD_LANE_SIGN);
    frame_put_u64(&b, TAG_INDEX, UINT64_MAX);
    frame_put_u64(&b, TAG_PID, 4711);
    frame_end(&b, mark);
    assert_int_equal(frame_parse(buf_span(&b), &f, &e), 0);
    assert_int_equal(frame_u64(&f, TAG_ROLE), CHILD_LANE_SIGN);
    assert_true(frame_u64(&f, TAG_INDEX) == UINT64_MAX);
    assert_int_equal(frame_u64(&f, TAG_PID), 4711);
    assert_int_equal(frame_u64(&f, TAG_COUNT), 0);
}

static void required_fields(void **state)
{
    (void)state;
    assert_true(frame_requires(FRAME_SIGN, TAG_INPUT));
    assert_false(frame_requires(FRAME_SIGN, TAG_SPKI));
    assert_true(frame_requires(FRAME_LOAD, TAG_SPKI));
    assert_false(frame_requires(FRAME_REQUEST, TAG_BODY)); /* it may have one */
}

/* Parses a REQUEST that has these bytes after the four required fields. */
static int parse_with(const void *extra, size_t len, struct err *e)
{
    BUF_AUTO b = BUF_INIT(4096);
    struct frame f;

    size_t mark = frame_begin(&b, FRAME_REQUEST, 1);
    begin_request(&b);
    buf_put(&b, extra, len);
    frame_end(&b, mark);
    return frame_parse(buf_span(&b), &f, e);
}

static void refuses_fields(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        const char *says;
    } bad[] = {
        {"\x05", 1, "cut off"},
        {"\x05\x00\x00\x00\x02x", 6, "BODY is cut off"},
        {"\x05\xff\xff\xff\xffx", 6, "BODY is cut off"},
        {"\x01\x00\x00\x00\x01x", 6, "METHOD is there twice"},
        {"\x00\x00\x00\x00\x00", 5, "unknown field 0"},
        {"\xff\x00\x00\x00\x00", 5, "unknown field 255"},
        {"\x3f\x00\x00\x00\x00", 5, "unknown field 63"},
        {"\x13\x00\x00\x00\x00", 5, "INPUT does not belong there"},
        {"\x06\x00\x00\x00\x02x\x00", 7, "IDEMPOTENCY is not UTF-8"},
        {"\x06\x00\x00\x00\x01\xff", 6, "IDEMPOTENCY is not UTF-8"},
    };

    (void)state;
    assert_int_equal(parse_with("\x05\x00\x00\x00\x02\x00\xff", 7, NULL), 0);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct err e = {0};
        assert_int_equal(parse_with(bad[i].bytes, bad[i].len, &e), -1);
        if (!strstr(e.detail, bad[i].says))
            fail_msg("%s, expected %s", e.detail, bad[i].says);
    }
}

static void refuses_frames(void **state)
{
    struct frame f;
    struct err e = {0};
    size_t len;

    (void)state;
    assert_int_equal(frame_next(span_of("\x00\x00\x00\x08", 4), &len), -1);
    assert_int_equal(frame_next(span_of("\x00\x80\x00\x01", 4), &len), -1);
    assert_int_equal(frame_next(span_of("\x00\x80\x00\x00", 4), &len), 0);
    assert_int_equal(frame_next((struct span){0}, &len), 0);
    assert_int_equal(frame_parse(span_of("\x00\x00\x00\x09\x33\0\0\0\0\0\0\0\1", 13), &f, &e), 0);
    assert_int_equal(frame_parse(span_of("\x00\x00\x00\x09\x33\0\0\0\0\0\0\0\1\0", 14), &f, &e), -1);
    assert_int_equal(frame_parse(span_of("\x00\x00\x00\x09\x33\0\0\0\0\0\0\0", 12), &f, &e), -1);
    assert_int_equal(frame_parse(span_of("\x00\x00\x00\x09\x00\0\0\0\0\0\0\0\1", 13), &f, &e), -1);
    assert_string_equal(e.detail, "frame: unknown type 0");
    assert_int_equal(frame_parse(span_of("\x00\x00\x00\x09\xff\0\0\0\0\0\0\0\1", 13), &f, &e), -1);
    assert_int_equal(frame_parse(span_of("\x00\x00\x00\x09\x1a\0\0\0\0\0\0\0\1", 13), &f, &e), -1);
    assert_string_equal(e.detail, "frame UNLOAD: field KEY_ID is missing");
    assert_int_equal(frame_parse(span_of("\x00\x00\x00\x12\x37\0\0\0\0\0\0\0\1\x29\0\0\0\4\0\0\0\1", 22), &f, &e), -1);
    assert_string_equal(e.detail, "frame RECORD: number SEQ has 4 bytes");
}

static void too_long_fails(void **state)
{
    static uint8_t big[FRAME_MAX];
    BUF_AUTO b = BUF_INIT(8 * (size_t)FRAME_MAX);

    (void)state;
    size_t first = frame_begin(&b, FRAME_READY, 1);
    frame_end(&b, first);
    size_t mark = frame_begin(&b, FRAME_RESULT, 1), room = FRAME_MAX - 9 - 5;
    frame_put(&b, TAG_OUTPUT, span_of(big, room));
    frame_end(&b, mark);
    assert_int_equal(buf_ok(&b), 0);
    size_t len = b.len;
    mark = frame_begin(&b, FRAME_RESULT, 2);
    frame_put(&b, TAG_OUTPUT, span_of(big, room + 1));
    frame_end(&b, mark);
    assert_int_equal(buf_ok(&b), -1);
    assert_int_equal(b.len, len);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),     cmocka_unit_test(numbers),        cmocka_unit_test(refuses_fields),
        cmocka_unit_test(refuses_frames), cmocka_unit_test(too_long_fails), cmocka_unit_test(required_fields),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
