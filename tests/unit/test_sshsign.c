/* The bytes a person signs. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <signal.h>

#include "client/sshsign.h"

static void test_message(void **state)
{
    BUF_AUTO out = BUF_INIT(4096);
    struct err e = {0};

    (void)state;
    assert_int_equal(sshsign_message("0011", "ab", "POST", "/v1/keys?x=1", span_str("{}"), &out, &e), 0);
    assert_string_equal(buf_str(&out), "{\"body_sha256\":\"44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a\",\"instance\":\"0011\","
                                       "\"method\":\"POST\",\"nonce\":\"ab\",\"path\":\"/v1/keys?x=1\"}");
}

static void test_empty_body(void **state)
{
    BUF_AUTO out = BUF_INIT(4096);
    struct err e = {0};

    (void)state;
    assert_int_equal(sshsign_message("i", "n", "POST", "/", (struct span){0}, &out, &e), 0);
    assert_string_equal(buf_str(&out), "{\"body_sha256\":\"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\",\"instance\":\"i\","
                                       "\"method\":\"POST\",\"nonce\":\"n\",\"path\":\"/\"}");
}

static void test_no_key(void **state)
{
    BUF_AUTO out = BUF_INIT(4096);
    struct err e = {0};

    (void)state;
    assert_int_equal(sshsign_sign("/nonexistent/key", span_str("{}"), &out, &e), -1);
    assert_int_equal(e.code, ERR_SIGNATURE_REQUIRED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_message), cmocka_unit_test(test_empty_body), cmocka_unit_test(test_no_key)};

    (void)sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, NULL); /* as in kmsctl: ssh-keygen may end before it read anything */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
