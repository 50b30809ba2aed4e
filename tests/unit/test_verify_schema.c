/* The verifier's table of events and members. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "audit/verify/schema.h"

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define HEX32 "0123456789abcdef0123456789abcdef"
#define COMMON \
    "\"v\":1,\"seq\":3,\"prev\":\"" HEX64 "\",\"time\":\"2026-03-03T08:09:10.123456Z\",\"boot\":\"" HEX32 "\",\"req\":\"\"," \
    "\"actor\":{\"name\":\"a\",\"kind\":\"human\",\"cred\":\"\",\"method\":\"mtls\"}"
#define EVENT(ev, out) ",\"event\":\"" ev "\",\"outcome\":\"" out "\""
#define REQUEST \
    "\"request\":{\"method\":\"POST\",\"path\":\"/\",\"body_sha256\":\"" HEX64 "\",\"nonce\":\"" HEX32 "\",\"sshsig_b64\":\"AAAA\",\"body_b64\":\"\"}"
#define PERSON ",\"src\":\"::1\",\"rule\":\"r\",\"policy\":\"" HEX64 "\",\"body_sha256\":\"" HEX64 "\"," REQUEST

/* Text of the refusal, "" when the record fits. */
static const char *judge(const char *members, enum event *ev, enum outcome *out)
{
    static char text[ERR_DETAIL_MAX];
    char line[8192];
    struct err e = {0};

    (void)snprintf(line, sizeof line, "{" COMMON "%s}", members);
    JSON_AUTO *j = json_read_object(line, strlen(line), sizeof line, &e);
    assert_non_null(j);
    if (!schema_check(j, ev, out, &e))
        return "";
    (void)snprintf(text, sizeof text, "%s", e.detail);
    return text;
}

#define BIRTH(more) \
    ",\"detail\":{\"algorithm\":\"rsa-2048\",\"birth\":{\"allowed_mechanisms\":[\"CKM_RSA_PKCS\"],\"mechanism_generate\":\"m\",\"not_enforced\":[]," \
    more "\"token\":{\"firmware\":\"1\",\"label\":\"\",\"manufacturer\":\"\",\"model\":\"\",\"module\":\"m\",\"module_sha256\":\"" HEX64 \
    "\",\"serial\":\"\"}},\"key_id\":\"" HEX32 "\",\"spki_b64\":\"MA==\"}"
#define CREATED EVENT("key.create", "ok") ",\"body_sha256\":\"" HEX64 "\",\"intent_seq\":1,\"key\":{\"name\":\"k\",\"version\":1},\"policy\":\"" HEX64 \
    "\",\"purpose\":\"release\",\"rule\":\"r\",\"scheme\":\"digest-pkcs1\",\"src\":\"::1\""

static const struct {
    const char *members, *refusal; /* a part of it; "" = fits */
} CASES[] = {
    {EVENT("daemon.stop", "ok") ",\"reason\":\"told\"", ""},
    {EVENT("daemon.stop", "ok"), ""},
    {EVENT("daemon.stop", "ok") ",\"detail\":{}", ""},
    {EVENT("daemon.stop", "ok") ",\"detail\":{\"x\":1}", "detail"},
    {EVENT("daemon.stop", "ok") ",\"colour\":\"red\"", "colour"},
    {EVENT("daemon.stop", "ok") ",\"src\":\"::1\"", "src"},
    {EVENT("daemon.stop", "denied"), "outcome"},
    {EVENT("daemon.reload", "ok"), "event"},
    {EVENT("daemon.stop", "perhaps"), "outcome"},
    {"", "event"},
    {EVENT("policy.apply", "ok") PERSON ",\"detail\":{\"sha256\":\"" HEX64 "\"}", ""},
    {EVENT("policy.apply", "ok") PERSON ",\"idem\":\"x\",\"detail\":{\"sha256\":\"" HEX64 "\"}", ""},
    {EVENT("policy.apply", "ok") PERSON, "detail"},
    {EVENT("policy.apply", "ok") PERSON ",\"detail\":{\"sha256\":\"" HEX32 "\"}", "sha256"},
    {EVENT("policy.apply", "ok") ",\"detail\":{\"sha256\":\"" HEX64 "\"}", "missing"},
    {EVENT("policy.apply", "denied") ",\"src\":\"::1\",\"reason\":\"forbidden\"", ""},
    {EVENT("policy.apply", "error") ",\"src\":\"::1\",\"reason\":\"busy\",\"rule\":\"r\",\"policy\":\"" HEX64 "\"", ""},
    {EVENT("policy.apply", "denied") ",\"src\":\"::1\"", "reason"},
    {EVENT("key.create", "error") ",\"reason\":\"x\",\"intent_seq\":1,\"key\":{\"name\":\"k\",\"version\":1}", ""},
    {EVENT("key.create", "error") ",\"reason\":\"x\",\"intent_seq\":1", "key"},
    {EVENT("key.create", "error") ",\"reason\":\"x\",\"key\":{\"name\":\"k\"}", ""},
    {EVENT("key.create", "error") ",\"reason\":\"x\",\"intent_seq\":1,\"key\":{\"name\":\"k\"}", "version"},
    {EVENT("key.create", "error") ",\"reason\":\"x\",\"intent_seq\":-1,\"key\":{\"name\":\"k\",\"version\":1}", "intent_seq"},
    {CREATED BIRTH("\"adds_digest_info\":false,\"probe\":\"ok\",\"sign\":true,"), ""},
    {CREATED BIRTH("\"probe\":\"ok\","), ""},
    {CREATED BIRTH("\"probe\":\"not\","), "probe"},
    {CREATED BIRTH(""), "probe"},
    {CREATED BIRTH("\"adds_digest_info\":0,\"probe\":\"ok\","), "adds_digest_info"},
    {CREATED BIRTH("\"probe\":\"ok\",\"sings\":true,"), "birth"},
    {EVENT("server.renew", "ok") ",\"detail\":{\"certificate_b64\":\"MA==\"}", ""},
    {EVENT("server.renew", "ok") ",\"detail\":{\"certificate_b64\":\"M\"}", "certificate_b64"},
    {EVENT("server.renew", "denied") ",\"detail\":{\"certificate_b64\":\"MA==\"}", "outcome"},
    {EVENT("daemon.child", "error") ",\"reason\":\"x\",\"detail\":{\"index\":0,\"role\":\"lane-sign\"}", ""},
    {EVENT("daemon.start", "ok") ",\"detail\":{\"boot_id\":\"b\",\"module_sha256\":\"" HEX64 "\",\"programs\":{\"kmsd_core\":\"" HEX64
     "\"},\"settings_sha256\":\"" HEX64 "\",\"version\":\"1\"}", ""},
    {EVENT("daemon.start", "ok") ",\"detail\":{\"boot_id\":\"b\",\"module_sha256\":\"" HEX64 "\",\"programs\":{\"kmsd_core\":1},"
     "\"settings_sha256\":\"" HEX64 "\",\"version\":\"1\"}", "programs"},
    {EVENT("refusal.summary", "ok") ",\"detail\":{\"items\":[{\"count\":1,"
     "\"cred\":\"\",\"name\":\"\",\"reason\":\"\",\"src\":\"\"}],\"others\":0}", ""},
    {EVENT("log.snapshot", "ok") ",\"detail\":{\"bytes\":1,\"file\":\"f\",\"seq\":3,\"sha256\":\"" HEX64 "\"}", ""},
    {EVENT("log.snapshot", "ok") ",\"detail\":{\"bytes\":1,\"file\":\"f\",\"seq\":3}", "sha256"},
    {EVENT("time.step", "ok") ",\"detail\":{\"from\":\"2026-03-03T08:09:10.123456Z\",\"seconds\":-400,\"to\":\"2026-03-03T08:02:30.123456Z\"}", ""},
    {EVENT("time.step", "ok") ",\"detail\":{\"from\":\"2026-03-03T08:09:10.123456Z\",\"seconds\":\"-400\",\"to\":\"2026-03-03T08:02:30.123456Z\"}", "seconds"},
    {EVENT("time.step", "ok") ",\"detail\":{\"from\":\"2026-03-03T08:09:10.123456Z\",\"seconds\":-400,\"to\":\"2026-03-03\"}", "to"},
    {EVENT("time.step", "error") ",\"reason\":\"x\"", "outcome"},
    {EVENT("time.confirm", "ok") PERSON ",\"reason\":\"ntp\",\"detail\":{\"seq\":3}", ""},
    {EVENT("time.confirm", "ok") PERSON ",\"reason\":\"ntp\"", "detail"},
    {EVENT("time.confirm", "ok") ",\"reason\":\"ntp\",\"detail\":{\"seq\":3}", "missing"},
    {EVENT("time.confirm", "denied") ",\"src\":\"::1\",\"reason\":\"forbidden\"", ""},
    {EVENT("log.snapshot", "error") ",\"reason\":\"x\"", "outcome"},
    {EVENT("refusal.summary", "ok") ",\"detail\":{\"items\":[{\"count\":1}],\"others\":0}", "items[0]"},
};

static void test_records(void **state)
{
    enum event ev;
    enum outcome out;

    (void)state;
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        const char *said = judge(CASES[i].members, &ev, &out);

        if (!*said != !*CASES[i].refusal || !strstr(said, CASES[i].refusal))
            fail_msg("case %zu %s: \"%s\" instead of \"%s\"", i, CASES[i].members, said, CASES[i].refusal);
    }
}

static void test_common_members(void **state)
{
    static const char *const broken[][2] = {
        {"\"v\":1", "\"v\":2"}, {"\"seq\":3", "\"seq\":-3"}, {"\"seq\":3", "\"seq\":\"3\""}, {"\"method\":\"mtls\"", "\"method\":\"oidc\""},
        {"\"kind\":\"human\"", "\"kind\":\"robot\""}, {"\"cred\":\"\"", "\"cred\":\"ab\""}, {".123456Z", ".123Z"}, {"\"req\":\"\",", ""},
        {"\"name\":\"a\",", ""}, {"\"name\":\"a\",", "\"name\":\"a\",\"mail\":\"x\","}};
    static const char good[] = "{" COMMON EVENT("daemon.stop", "ok") "}";

    (void)state;
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        const char *at = strstr(good, broken[i][0]);
        char line[4096];
        struct err e = {0};
        enum event ev;
        enum outcome out;

        assert_non_null(at);
        (void)snprintf(line, sizeof line, "%.*s%s%s", (int)(at - good), good, broken[i][1], at + strlen(broken[i][0]));
        JSON_AUTO *j = json_read_object(line, strlen(line), sizeof line, &e);
        assert_non_null(j);
        if (!schema_check(j, &ev, &out, &e))
            fail_msg("%s passes", broken[i][1]);
    }
}

static void test_names(void **state)
{
    enum event ev = EVENT_COUNT;
    enum outcome out = OUTCOME_COUNT;

    (void)state;
    assert_string_equal(judge(EVENT("auth.refused", "denied") ",\"reason\":\"x\",\"src\":\"::1\"", &ev, &out), "");
    assert_int_equal(ev, EVENT_AUTH_REFUSED);
    assert_int_equal(out, OUTCOME_DENIED);
    assert_string_equal(event_name(ev), "auth.refused");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_records), cmocka_unit_test(test_common_members), cmocka_unit_test(test_names)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
