/* A write to a closed pipe between hold and release ends nothing and leaves no trace; outside of them the program's own rules hold. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "client/sigpipe.h"

static volatile sig_atomic_t raised;

static void count(int number)
{
    (void)number;
    raised++;
}

static void write_to_nobody(void)
{
    int ends[2];

    assert_int_equal(pipe(ends), 0);
    close(ends[0]);
    assert_int_equal(write(ends[1], "x", 1), -1);
    assert_int_equal(errno, EPIPE);
    close(ends[1]);
}

static void test_held(void **state)
{
    struct sigpipe s;

    (void)state;
    raised = 0;
    sigpipe_hold(&s);
    assert_true(s.held);
    write_to_nobody();
    sigpipe_release(&s);
    assert_int_equal(raised, 0);
    write_to_nobody();
    assert_int_equal(raised, 1);
}

static void test_pending_before_stays(void **state)
{
    struct sigpipe s;
    sigset_t set;

    (void)state;
    raised = 0;
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    sigprocmask(SIG_BLOCK, &set, NULL);
    write_to_nobody();
    sigpipe_hold(&s);
    assert_false(s.held);
    sigpipe_release(&s);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    assert_int_equal(raised, 1);
}

int main(void)
{
    struct sigaction counting = {.sa_handler = count};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_held),
        cmocka_unit_test(test_pending_before_stays),
    };

    sigaction(SIGPIPE, &counting, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
