/* What the core takes of a lane as the birth of a key, or as the proof of its removal. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "kmsd/core/internal.h"

#define HASH "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define TOKEN(hash, more) \
    "{\"firmware\":\"\",\"label\":\"\",\"manufacturer\":\"\",\"model\":\"\",\"module\":\"/m.so\",\"module_sha256\":\"" hash "\",\"serial\":\"\"" more "}"
#define BIRTH(words, probe, token, more) \
    "{\"allowed_mechanisms\":" words ",\"mechanism_generate\":\"m\",\"not_enforced\":[],\"probe\":" probe ",\"token\":" token more "}"
#define PROOF(left, private, token) "{\"left\":" left ",\"private\":" private ",\"public\":1,\"token\":" token "}"

/* why: a part of what is said of it; NULL = it is taken. */
struct row {
    const char *text, *why;
};
static const struct row BIRTHS[] = {
    {BIRTH("[\"CKM_ECDSA\"]", "\"ok\"", TOKEN(HASH, ""), ""), NULL},
    {BIRTH("[]", "\"ok\"", TOKEN(HASH, ""), ",\"sign\":true,\"unwrap\":false,\"adds_digest_info\":false"), NULL},
    {"{}", "allowed_mechanisms"},
    {"[]", "object"},
    {"", "line 1"},
    {BIRTH("[\"\"]", "\"ok\"", TOKEN(HASH, ""), ""), "allowed_mechanisms"},
    {BIRTH("[1]", "\"ok\"", TOKEN(HASH, ""), ""), "allowed_mechanisms"},
    {BIRTH("\"CKM_ECDSA\"", "\"ok\"", TOKEN(HASH, ""), ""), "allowed_mechanisms"},
    {BIRTH("[]", "\"not\"", TOKEN(HASH, ""), ""), "probe"},
    {BIRTH("[]", "\"ok\"", "1", ""), "token"},
    {BIRTH("[]", "\"ok\"", TOKEN(HASH, ",\"odd\":1"), ""), "odd"},
    {BIRTH("[]", "\"ok\"", TOKEN("", ""), ""), "module_sha256"},
    {BIRTH("[]", "\"ok\"", TOKEN(HASH "0", ""), ""), "module_sha256"},
    {BIRTH("[]", "\"ok\"", TOKEN("A0112233445566778899aabbccddeeff00112233445566778899aabbccddeeff", ""), ""), "module_sha256"},
    {BIRTH("[]", "\"ok\"", TOKEN(HASH, ""), ",\"sign\":1"), "sign"},
    {BIRTH("[]", "\"ok\"", TOKEN(HASH, ""), ",\"sings\":true"), "sings"},
    {BIRTH("[]", "\"ok\"", TOKEN(HASH, ""), ",\"Sign!\":true"), "Sign!"},
};
static const struct row PROOFS[] = {
    {PROOF("0", "1", "{\"label\":\"\",\"serial\":\"1\"}"), NULL},
    {PROOF("1", "1", "{\"label\":\"\",\"serial\":\"1\"}"), "left"},
    {PROOF("0", "-1", "{\"label\":\"\",\"serial\":\"1\"}"), "private"},
    {PROOF("0", "1", "{\"label\":\"\"}"), "serial"},
    {PROOF("0", "1", "{\"label\":\"\",\"serial\":1}"), "serial"},
    {PROOF("0", "1", "{\"label\":\"\",\"odd\":1,\"serial\":\"1\"}"), "odd"},
    {PROOF("0", "1", "[]"), "token"},
    {"{}", "left"},
};

static void check(const struct row *rows, size_t n_rows, json_t *(*read)(struct span text, struct err *e))
{
    for (size_t n = 0; n < n_rows; n++) {
        struct err e = {0};
        JSON_AUTO *got = read(span_str(rows[n].text), &e);

        if (!rows[n].why != !!got || (rows[n].why && (e.code != ERR_INTERNAL || !strstr(e.detail, rows[n].why))))
            fail_msg("row %zu: %s", n, e.detail);
    }
}

static void births(void **state)
{
    (void)state;
    check(BIRTHS, sizeof BIRTHS / sizeof *BIRTHS, shown_birth);
}

static void proofs(void **state)
{
    (void)state;
    check(PROOFS, sizeof PROOFS / sizeof *PROOFS, shown_proof);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(births), cmocka_unit_test(proofs)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
