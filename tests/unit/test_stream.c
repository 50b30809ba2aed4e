/* Tests of base/stream.c. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/stream.h"

struct pair {
    struct stream a, b;
};

static int setup(void **state)
{
    static struct pair p;
    int fd[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd))
        return -1;
    stream_init(&p.a, fd[0]);
    stream_init(&p.b, fd[1]);
    *state = &p;
    return 0;
}

static int teardown(void **state)
{
    struct pair *p = *state;

    stream_close(&p->a);
    stream_close(&p->b);
    return 0;
}

static void put_result(struct buf *out, uint64_t id, size_t size)
{
    static uint8_t bytes[FRAME_MAX];

    size_t mark = frame_begin(out, FRAME_RESULT, id);
    frame_put(out, TAG_OUTPUT, span_of(bytes, size));
    frame_end(out, mark);
}

static void small_frames(void **state)
{
    struct pair *p = *state;
    struct frame f;
    struct err e = {0};

    assert_true(fcntl(p->a.fd, F_GETFL) & O_NONBLOCK);
    assert_int_equal(stream_fill(&p->b), 0);
    assert_int_equal(stream_next(&p->b, &f, &e), 0);
    for (uint64_t i = 0; i < 100; i++)
        put_result(&p->a.out, i, 10);
    assert_int_equal(stream_flush(&p->a), 0);
    assert_int_equal(stream_fill(&p->b), 1);
    for (uint64_t i = 0; i < 100; i++) {
        assert_int_equal(stream_next(&p->b, &f, &e), 1);
        assert_int_equal(f.id, i);
    }
    assert_int_equal(stream_next(&p->b, &f, &e), 0);
    assert_int_equal(stream_fill(&p->b), 0);
}

/* Far more than the socket holds: both sides take turns. */
/* In the socket or read already: what was not handed out waits. */
static void waiting(void **state)
{
    struct pair *p = *state;
    struct frame f;
    struct err e = {0};
    size_t all;

    assert_int_equal(stream_waiting(&p->b), 0);
    for (uint64_t i = 0; i < 3; i++)
        put_result(&p->a.out, i, 10);
    all = p->a.out.len;
    assert_int_equal(stream_flush(&p->a), 0);
    assert_int_equal(stream_waiting(&p->b), all);
    assert_int_equal(stream_fill(&p->b), 1);
    assert_int_equal(stream_waiting(&p->b), all);
    assert_int_equal(stream_next(&p->b, &f, &e), 1);
    assert_int_equal(stream_waiting(&p->b), all / 3 * 2);
    put_result(&p->a.out, 4, 10);
    assert_int_equal(stream_flush(&p->a), 0);
    assert_int_equal(stream_waiting(&p->b), all);
}

static void large_frames(void **state)
{
    struct pair *p = *state;
    struct frame f;
    struct err e = {0};
    uint64_t next = 0;
    int more = 1;

    for (uint64_t i = 0; i < 6; i++)
        put_result(&p->a.out, i, FRAME_MAX - 14 - i);
    assert_int_equal(buf_ok(&p->a.out), 0);
    for (int turns = 0; next < 6 && turns < 10000; turns++) {
        more = stream_flush(&p->a);
        assert_true(more >= 0);
        assert_true(stream_fill(&p->b) >= 0);
        assert_true(p->b.in.len <= 2 * (size_t)FRAME_MAX + (64u << 10));
        while (stream_next(&p->b, &f, &e) == 1) {
            assert_int_equal(f.id, next);
            assert_int_equal(f.field[TAG_OUTPUT].len, FRAME_MAX - 14 - next);
            next++;
        }
    }
    assert_int_equal(next, 6);
    assert_int_equal(stream_flush(&p->a), 0);
    assert_int_equal(p->a.out.len, 0);
}

/* A reader that takes no frame stops the writer, and nothing is lost. */
static void reader_is_bounded(void **state)
{
    struct pair *p = *state;
    struct frame f;
    struct err e = {0};
    unsigned got = 0;

    for (uint64_t i = 0; i < 3000; i++)
        put_result(&p->a.out, i, 10000);
    for (int i = 0; i < 1000; i++) {
        assert_true(stream_flush(&p->a) >= 0);
        assert_true(stream_fill(&p->b) >= 0);
    }
    assert_true(p->b.in.len <= 2 * (size_t)FRAME_MAX + (64u << 10));
    for (int i = 0; i < 1000 && got < 3000; i++) {
        while (stream_next(&p->b, &f, &e) == 1)
            got++;
        assert_true(stream_flush(&p->a) >= 0);
        assert_true(stream_fill(&p->b) >= 0);
    }
    assert_int_equal(got, 3000);
}

static void end_and_error(void **state)
{
    struct pair *p = *state;
    struct frame f;
    struct err e = {0};

    put_result(&p->a.out, 7, 10);
    assert_int_equal(stream_flush(&p->a), 0);
    stream_close(&p->a);
    assert_int_equal(stream_fill(&p->b), 1);
    assert_int_equal(stream_next(&p->b, &f, &e), 1);
    assert_int_equal(stream_fill(&p->b), -1);
    put_result(&p->b.out, 8, 10);
    assert_int_equal(stream_flush(&p->b), -1);
}

static void malformed(void **state)
{
    struct pair *p = *state;
    struct frame f;
    struct err e = {0};

    buf_put(&p->a.out, "\xff\xff\xff\xff", 4);
    assert_int_equal(stream_flush(&p->a), 0);
    assert_int_equal(stream_fill(&p->b), 1);
    assert_int_equal(stream_next(&p->b, &f, &e), -1);
    assert_int_equal(e.code, ERR_INTERNAL);
}

static void overflow_ends_the_stream(void **state)
{
    struct pair *p = *state;

    p->a.out.failed = true;
    assert_int_equal(stream_flush(&p->a), -1);
}

static void passes_descriptors(void **state)
{
    struct pair *p = *state;
    BUF_AUTO frame = BUF_INIT(1000);
    struct frame f;
    struct err e = {0};
    int fd[2];
    char c;

    assert_int_equal(pipe(fd), 0);
    put_result(&p->a.out, 1, 20);
    put_result(&frame, 2, 20);
    assert_int_equal(stream_send_fd(&p->a, &frame, fd[0]), 0);
    close(fd[0]);
    for (int i = 0; i < 3 && p->b.in.len < 2 * frame.len; i++)
        assert_true(stream_fill(&p->b) >= 0);
    assert_int_equal(stream_next(&p->b, &f, &e), 1);
    assert_int_equal(f.id, 1);
    assert_int_equal(stream_next(&p->b, &f, &e), 1);
    assert_int_equal(f.id, 2);
    assert_true(p->b.passed_fd >= 0);
    assert_true(fcntl(p->b.passed_fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(write(fd[1], "x", 1), 1);
    assert_int_equal(read(p->b.passed_fd, &c, 1), 1);
    close(fd[1]);
    /* A second one while the first was not taken. */
    assert_int_equal(stream_send_fd(&p->a, &frame, 2), 0);
    assert_int_equal(stream_fill(&p->b), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(small_frames, setup, teardown),
        cmocka_unit_test_setup_teardown(waiting, setup, teardown),
        cmocka_unit_test_setup_teardown(large_frames, setup, teardown),
        cmocka_unit_test_setup_teardown(reader_is_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(end_and_error, setup, teardown),
        cmocka_unit_test_setup_teardown(malformed, setup, teardown),
        cmocka_unit_test_setup_teardown(overflow_ends_the_stream, setup, teardown),
        cmocka_unit_test_setup_teardown(passes_descriptors, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
