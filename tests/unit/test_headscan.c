/* The strict head reader: what it passes on, and what it never does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kmsd/front/headscan.h"

#define GET "GET /v1/keys HTTP/1.1\r\nHost: a\r\n\r\n"
#define POST "POST /v1/sign?x=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"

static struct headscan feed(const char *text, size_t len, size_t step, struct buf *out)
{
    struct headscan *s = calloc(1, sizeof *s), copy;

    for (size_t at = 0; at < len;)
        at += headscan_feed(s, span_of(text + at, len - at < step ? len - at : step), out);
    copy = *s;
    free(s);
    return copy;
}

/* The same bytes in pieces of every size: same verdict, same bytes passed on. */
static void expect(const char *text, size_t len, enum err_code verdict, const char *passed)
{
    for (size_t step = 1; step <= len; step = step < 16 ? step + 1 : step * 2) {
        BUF_AUTO out = BUF_INIT(1 << 20);
        struct headscan s = feed(text, len, step, &out);

        assert_int_equal(s.state == HEADSCAN_BAD ? s.verdict : ERR_NONE, verdict);
        assert_int_equal(out.len, strlen(passed));
        assert_memory_equal(buf_str(&out), passed, out.len);
    }
}
#define EXPECT(text, verdict, passed) expect(text, sizeof(text) - 1, verdict, passed)

static void good_requests_pass_unchanged(void **state)
{
    (void)state;
    EXPECT(GET, ERR_NONE, GET);
    EXPECT(GET POST GET, ERR_NONE, GET POST GET);
    EXPECT("GET / HTTP/1.1\r\nhost:a\r\nX:  y \t\r\nEmpty:\r\n\r\n", ERR_NONE, "GET / HTTP/1.1\r\nhost:a\r\nX:  y \t\r\nEmpty:\r\n\r\n");
}

static void nothing_passes_before_the_head_is_whole(void **state)
{
    BUF_AUTO out = BUF_INIT(1 << 20);
    struct headscan s = feed(GET, sizeof(GET) - 2, 1, &out);

    (void)state;
    assert_int_equal(s.state, HEADSCAN_HEAD);
    assert_int_equal(out.len, 0);
}

static void bad_heads_stop_everything(void **state)
{
    (void)state;
    EXPECT(GET "GET /v1/keys HTTP/1.1\r\n\r\n" GET, ERR_BAD_REQUEST, GET);
    EXPECT("GET / HTTP/1.1\nHost: a\n\n" GET, ERR_BAD_REQUEST, "");
    EXPECT("GET / HTTP/1.1\r\nHost: a\r\n\n", ERR_BAD_REQUEST, "");
    EXPECT("GET / HTTP/1.1\r\nHost: a\n\r\n", ERR_BAD_REQUEST, "");
    EXPECT("GET / HTTP/1.1\r\nHost: a\r\nX: b\rY: c\r\n\r\n", ERR_BAD_REQUEST, "");
    EXPECT("GET / HTTP/1.1\r\nHost: a\r\n X: b\r\n\r\n", ERR_BAD_REQUEST, "");
    EXPECT("GET / HTTP/1.1\r\nHost : a\r\n\r\n", ERR_BAD_REQUEST, "");
    EXPECT("GET / HTTP/1.1\r\nHost: a\r\nHOST: b\r\n\r\n", ERR_BAD_REQUEST, "");
    EXPECT("GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", ERR_BAD_REQUEST, "");
    EXPECT("GET / HTTP/1.0\r\nHost: a\r\n\r\n", ERR_BAD_REQUEST, "");
    EXPECT("GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", ERR_BAD_REQUEST, "");
    EXPECT("GET /a%00b HTTP/1.1\r\nHost: a\r\n\r\n", ERR_BAD_REQUEST, "");
    EXPECT("GET //a HTTP/1.1\r\nHost: a\r\n\r\n", ERR_BAD_REQUEST, "");
    EXPECT("GET /a/../b HTTP/1.1\r\nHost: a\r\n\r\n", ERR_BAD_REQUEST, "");
    EXPECT("A\n\n", ERR_BAD_REQUEST, "");
    EXPECT("\r\n" GET, ERR_BAD_REQUEST, "");
}

static void expect_target(const char *target, enum err_code verdict)
{
    BUF_AUTO text = BUF_INIT(HEAD_MAX);

    buf_printf(&text, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", target);
    expect(buf_str(&text), text.len, verdict, verdict ? "" : buf_str(&text));
}

static void targets(void **state)
{
    static const char *const good[] = {"/", "/a", "/a/", "/a/...", "/.a/a./..a", "/a?", "/a?b=//&c=../x", "/%41%2f", "/a%2e", "/?x=%25"};
    static const char *const bad[] = {"", "a", "*", "//", "/a//", "/.", "/..", "/a/.", "/a/..", "/a/..?b", "/%2e", "/a/%2E%2e/b", "/.%2e", "/a\\b",
                                      "/%", "/%4", "/a?%", "/%gg", "/a?b=%00", "/a#b", "/a b", "/a\tb", "/\xc3\xa4", "/\x7f"};

    (void)state;
    for (size_t n = 0; n < sizeof good / sizeof *good; n++)
        expect_target(good[n], ERR_NONE);
    for (size_t n = 0; n < sizeof bad / sizeof *bad; n++)
        expect_target(bad[n], ERR_BAD_REQUEST);
}

static void parameters(void **state)
{
    BUF_AUTO target = BUF_INIT(1024);

    (void)state;
    buf_puts(&target, "/&&/a?p0");
    for (unsigned n = 1; n < HEAD_PARAMETERS_MAX; n++)
        buf_printf(&target, "&p%u=v", n);
    expect_target(buf_str(&target), ERR_NONE);
    buf_puts(&target, "&");
    expect_target(buf_str(&target), ERR_BAD_REQUEST);
}

static void one_call_takes_one_request(void **state)
{
    static struct headscan s;
    BUF_AUTO out = BUF_INIT(1 << 20);

    (void)state;
    assert_true(headscan_between(&s));
    assert_int_equal(headscan_feed(&s, span_str(POST GET), &out), sizeof(POST) - 1);
    assert_true(headscan_between(&s));
    assert_string_equal(buf_str(&out), POST);
    assert_int_equal(headscan_feed(&s, span_str("G"), &out), 1);
    assert_false(headscan_between(&s));
    assert_int_equal(headscan_feed(&s, span_str(""), &out), 0);
}

static void parts_are_what_was_read_last(void **state)
{
    static struct headscan s;
    BUF_AUTO out = BUF_INIT(1 << 20);

    (void)state;
    (void)headscan_feed(&s, span_str("PUT /x?y HTTP/1.1\r\nHOST: a\r\nidempotency-key:\t k \r\n"
                                     "Kms-Signature:\r\nContent-Length: 1\r\n\r\nx"), &out);
    assert_true(span_eq_str(headscan_part(&s, HEADSCAN_METHOD), "PUT"));
    assert_true(span_eq_str(headscan_part(&s, HEADSCAN_TARGET), "/x?y"));
    assert_true(span_eq_str(headscan_part(&s, HEADSCAN_IDEMPOTENCY_KEY), "k"));
    assert_non_null(headscan_part(&s, HEADSCAN_KMS_SIGNATURE).data);
    assert_int_equal(headscan_part(&s, HEADSCAN_KMS_SIGNATURE).len, 0);
    assert_null(headscan_part(&s, HEADSCAN_CONTENT_TYPE).data);
    assert_int_equal(s.content_length, 1);
    (void)headscan_feed(&s, span_str(GET), &out);
    assert_null(headscan_part(&s, HEADSCAN_IDEMPOTENCY_KEY).data);
    assert_int_equal(s.content_length, 0);
    assert_int_equal(s.heads, 2);
}

static void lengths_are_one_number(void **state)
{
    (void)state;
    EXPECT("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", ERR_BAD_REQUEST, "");
    EXPECT("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx", ERR_BAD_REQUEST, "");
    EXPECT("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 01\r\n\r\nx", ERR_BAD_REQUEST, "");
    EXPECT("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\nx", ERR_BAD_REQUEST, "");
    EXPECT("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", ERR_LENGTH_REQUIRED, "");
    EXPECT("POST / HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx", ERR_UNSUPPORTED_MEDIA, "");
}

static void sizes_are_bounded(void **state)
{
    BUF_AUTO big = BUF_INIT(1 << 20), many = BUF_INIT(1 << 20);

    (void)state;
    buf_puts(&big, "GET / HTTP/1.1\r\nHost: a\r\nX: ");
    while (big.len < HEAD_MAX + 10)
        buf_putc(&big, 'y');
    expect((const char *)big.data, big.len, ERR_HEADER_TOO_LARGE, "");
    buf_puts(&many, "GET / HTTP/1.1\r\nHost: a\r\n");
    for (unsigned n = 0; n < HEAD_FIELDS_MAX; n++)
        buf_puts(&many, "X: y\r\n");
    buf_puts(&many, "\r\n");
    expect((const char *)many.data, many.len, ERR_HEADER_TOO_LARGE, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_requests_pass_unchanged), cmocka_unit_test(nothing_passes_before_the_head_is_whole), cmocka_unit_test(bad_heads_stop_everything),
        cmocka_unit_test(lengths_are_one_number),       cmocka_unit_test(sizes_are_bounded),
        cmocka_unit_test(targets), cmocka_unit_test(parameters),                     cmocka_unit_test(one_call_takes_one_request),
        cmocka_unit_test(parts_are_what_was_read_last),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
