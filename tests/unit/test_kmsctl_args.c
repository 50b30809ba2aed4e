/* The command line: options by table, nearest commands. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "client/args.h"
#include "client/config.h"
#include "client/help.h"

#define ARGC(v) ((int)(sizeof(v) / sizeof((v)[0])) - 1)

static const struct command *command(const char *noun, const char *verb)
{
    for (size_t i = 0; i < command_count; i++)
        if (strcmp(command_table[i].noun, noun) == 0 && (!verb || strcmp(command_table[i].verb, verb) == 0))
            return &command_table[i];
    fail();
    return NULL;
}

static void test_sign_options(void **state)
{
    char a0[] = "sign", a1[] = "app.zip", a2[] = "--version", a3[] = "1.0.0", a4[] = "--key=ota", a5[] = "--dry-run", a6[] = "--cert", a7[] = "c.pem";
    char *argv[] = {a0, a1, a2, a3, a4, a5, a6, a7, NULL};
    struct context c = {.command = command("sign", NULL)};

    (void)state;
    assert_int_equal(args_command(&c, ARGC(argv), argv), 0);
    assert_int_equal(c.args.n_words, 1);
    assert_string_equal(c.args.word[0], "app.zip");
    assert_string_equal(c.args.value[OPT_VERSION], "1.0.0");
    assert_string_equal(c.args.value[OPT_KEY], "ota");
    assert_non_null(c.args.value[OPT_DRY_RUN]);
    assert_string_equal(c.args.value[OPT_CLIENT_CERT], "c.pem");
}

static void test_cert_of_an_identity(void **state)
{
    char a0[] = "create", a1[] = "--cert", a2[] = "their.pem", a3[] = "--ssh", a4[] = "a.pub", a5[] = "--ssh", a6[] = "b.pub";
    char *argv[] = {a0, a1, a2, a3, a4, a5, a6, NULL};
    struct context c = {.command = command("identity", "create")};

    (void)state;
    assert_int_equal(args_command(&c, ARGC(argv), argv), 0);
    assert_string_equal(c.args.value[OPT_CERT], "their.pem");
    assert_null(c.args.value[OPT_CLIENT_CERT]);
    assert_int_equal(c.args.n_ssh, 2);
    assert_string_equal(c.args.ssh[1], "b.pub");
}

static void refused(const char *noun, char **argv, int argc, const char *needle)
{
    struct context c = {.command = command(noun, NULL)};

    assert_int_equal(args_command(&c, argc, argv), -1);
    assert_int_equal(c.error.status, KMS_USAGE);
    assert_non_null(strstr(c.error.detail, needle));
}

static void test_refusals(void **state)
{
    char a0[] = "status", unknown[] = "--nonsense", word[] = "extra", timeout[] = "--timeout", flag[] = "--dry-run=1", s[] = "-x";
    char *v1[] = {a0, unknown, NULL}, *v2[] = {a0, word, NULL}, *v3[] = {a0, timeout, NULL}, *v4[] = {a0, flag, NULL}, *v5[] = {a0, s, NULL},
         *v6[] = {a0, NULL};

    (void)state;
    refused("status", v1, ARGC(v1), "--nonsense");
    refused("status", v2, ARGC(v2), "extra");
    refused("status", v3, ARGC(v3), "needs an argument");
    refused("sign", v4, ARGC(v4), "takes no argument");
    refused("status", v5, ARGC(v5), "-x");
    refused("verify", v6, ARGC(v6), "FILE ENVELOPE is missing");
}

static void test_numbers(void **state)
{
    struct context c = {0};
    uint64_t n = 0;

    (void)state;
    assert_int_equal(config_number(&c, OPT_TIMEOUT, 1, 10, 5, &n), 0);
    assert_int_equal(n, 5);
    c.args.value[OPT_TIMEOUT] = "10";
    assert_int_equal(config_number(&c, OPT_TIMEOUT, 1, 10, 5, &n), 0);
    assert_int_equal(n, 10);
    c.args.value[OPT_TIMEOUT] = "11";
    assert_int_equal(config_number(&c, OPT_TIMEOUT, 1, 10, 5, &n), -1);
    c.args.value[OPT_TIMEOUT] = "1s";
    assert_int_equal(config_number(&c, OPT_TIMEOUT, 1, 10, 5, &n), -1);
}

static void test_nearest(void **state)
{
    (void)state;
    assert_ptr_equal(help_nearest("sgin", NULL), command("sign", NULL));
    assert_ptr_equal(help_nearest("kye", "list"), command("key", "list"));
    assert_ptr_equal(help_nearest("identity", "dissable"), command("identity", "disable"));
    assert_null(help_nearest("completely-different", NULL));
}

/* Every option a command lists has a help text, and no two of a command share a name. */
static void test_tables(void **state)
{
    (void)state;
    for (size_t i = 0; i < command_count; i++)
        for (int a = 0; a < OPT_COUNT; a++)
            for (int b = 0; b < a; b++)
                if (args_takes(&command_table[i], (enum opt_code)a) && args_takes(&command_table[i], (enum opt_code)b))
                    assert_string_not_equal(option_table[a].name, option_table[b].name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sign_options), cmocka_unit_test(test_cert_of_an_identity), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_numbers),      cmocka_unit_test(test_nearest),             cmocka_unit_test(test_tables),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
