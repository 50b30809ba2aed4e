/* Tests of kmsd/token/fault.c: who must act on what a PKCS#11 call returned. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "kmsd/token/fault.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

static const struct {
    CK_RV rv;
    enum lane_error class;
    enum fault_heal heal, heal_open; /* in general, and inside an operation */
} rows[] = {
    {0xB3, LANE_TOKEN, HEAL_SESSION, HEAL_SESSION}, {0xB0, LANE_TOKEN, HEAL_SESSION, HEAL_SESSION},
    {0x90, LANE_TOKEN, HEAL_SESSION, HEAL_SESSION}, {0x91, LANE_TOKEN, HEAL_SESSION, HEAL_SESSION},
    {0x101, LANE_TOKEN, HEAL_LOGIN, HEAL_LOGIN}, {0x82, LANE_TOKEN, HEAL_LOGIN, HEAL_LOGIN}, {0x60, LANE_TOKEN, HEAL_LOGIN, HEAL_LOGIN},
    {0x30, LANE_TOKEN, HEAL_NONE, HEAL_SESSION}, {0x31, LANE_TOKEN, HEAL_NONE, HEAL_SESSION}, {0x32, LANE_TOKEN, HEAL_NONE, HEAL_SESSION},
    {0xE0, LANE_TOKEN, HEAL_NONE, HEAL_SESSION}, {0xE1, LANE_TOKEN, HEAL_NONE, HEAL_SESSION}, {0x190, LANE_TOKEN, HEAL_NONE, HEAL_SESSION},
    {0x05, LANE_TOKEN, HEAL_NONE, HEAL_SESSION}, {0x06, LANE_TOKEN, HEAL_NONE, HEAL_SESSION}, {0x02, LANE_TOKEN, HEAL_NONE, HEAL_SESSION},
    {0x03, LANE_TOKEN, HEAL_NONE, HEAL_SESSION}, {0xB1, LANE_TOKEN, HEAL_NONE, HEAL_SESSION},
    {0xA0, LANE_HUMAN, HEAL_NONE, HEAL_NONE}, {0xA1, LANE_HUMAN, HEAL_NONE, HEAL_NONE}, {0xA2, LANE_HUMAN, HEAL_NONE, HEAL_NONE},
    {0xA3, LANE_HUMAN, HEAL_NONE, HEAL_NONE}, {0xA4, LANE_HUMAN, HEAL_NONE, HEAL_NONE}, {0x102, LANE_HUMAN, HEAL_NONE, HEAL_NONE},
    {0x07, LANE_BUG, HEAL_NONE, HEAL_NONE}, {0x20, LANE_BUG, HEAL_NONE, HEAL_NONE}, {0x21, LANE_BUG, HEAL_NONE, HEAL_NONE},
    {0x63, LANE_BUG, HEAL_NONE, HEAL_NONE}, {0x68, LANE_BUG, HEAL_NONE, HEAL_NONE}, {0x70, LANE_BUG, HEAL_NONE, HEAL_NONE},
    {0x71, LANE_BUG, HEAL_NONE, HEAL_NONE}, {0x6A, LANE_BUG, HEAL_NONE, HEAL_NONE}, {0x10, LANE_BUG, HEAL_NONE, HEAL_NONE},
    {0x11, LANE_BUG, HEAL_NONE, HEAL_NONE}, {0x12, LANE_BUG, HEAL_NONE, HEAL_NONE}, {0x13, LANE_BUG, HEAL_NONE, HEAL_NONE},
    {0x54, LANE_BUG, HEAL_NONE, HEAL_SESSION}, {0x50, LANE_BUG, HEAL_NONE, HEAL_SESSION}, {0x150, LANE_BUG, HEAL_NONE, HEAL_SESSION},
    {0x80000001, LANE_BUG, HEAL_NONE, HEAL_SESSION},
};

static void classes(void **state)
{
    (void)state;
    for (size_t n = 0; n < COUNT(rows); n++) {
        struct fault f = {0}, open = {0};

        assert_int_equal(fault_rv(&f, rows[n].rv, "C_Call"), -1);
        assert_int_equal(fault_rv_open(&open, rows[n].rv, "C_Call"), -1);
        if (f.class != rows[n].class || open.class != rows[n].class || f.heal != rows[n].heal || open.heal != rows[n].heal_open)
            fail_msg("0x%lx: class %d, heals %d and %d", (unsigned long)rows[n].rv, (int)f.class, (int)f.heal, (int)open.heal);
    }
}

/* What goes to the core names no value of the module. */
static void reasons(void **state)
{
    struct fault f = {.untried = true, .heal = HEAL_LOGIN};

    (void)state;
    for (size_t n = 0; n < COUNT(rows); n++) {
        fault_rv(&f, rows[n].rv, "C_Call");
        assert_false(strstr(f.reason, "0x") || strstr(f.reason, "CKR") || strstr(f.reason, "C_Call") || !f.reason[0]);
    }
    f.untried = true;
    assert_int_equal(fault_set(&f, LANE_KEY, "key %d", 7), -1);
    assert_true(f.class == LANE_KEY && f.heal == HEAL_NONE && !f.untried);
    assert_int_equal(fault_context(&f, "here"), -1);
    assert_string_equal(f.reason, "here: key 7");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(classes), cmocka_unit_test(reasons)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
