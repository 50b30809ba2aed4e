/* Tests of kmsd/token/label.c. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "kmsd/token/label.h"

static void labels(void **state)
{
    static const char *const good[] = {"kmsd:release:app:1", "kmsd:release:a.b_c-d:123456789"};
    static const char *const bad[] = {"", "kmsd:ca", "kmsd:release:", "kmsd:release:App:1", "kmsd:release:app:0", "kmsd:release:app:1234567890",
                                      "kmsd:release:app:1:", "kmsd:release:app:1:digest", "kmsd:release:app:1 "};
    static const char *const schemes[] = {"statement", "digest", "digest-pkcs1"};
    char label[OBJECT_LABEL_MAX];
    struct fault f;

    (void)state;
    for (size_t n = 0; n < sizeof good / sizeof *good; n++)
        for (size_t made = 0; made < 3; made++) {
            memcpy(label, good[n], strlen(good[n]) + 1);
            assert_int_equal(label_for(label, schemes[made], &f), 0);
            assert_true(strlen(label) == strlen(good[n]) + (made ? 1 + strlen(schemes[made]) : 0));
            for (size_t asked = 0; asked < 3; asked++)
                assert_int_equal(label_is_release(label, schemes[asked]), made == asked);
        }
    for (size_t n = 0; n < sizeof bad / sizeof *bad; n++) {
        memcpy(label, bad[n], strlen(bad[n]) + 1);
        assert_true(label_for(label, "digest", &f) == -1 && f.class == LANE_INPUT);
        assert_false(label_is_release(bad[n], "statement"));
    }
    assert_false(label_is_release("kmsd:release:app:1:statement", "statement"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(labels)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
