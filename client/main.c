/* kmsctl: finds the command, runs it, reports how it went. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/secret.h"
#include "client/args.h"
#include "client/config.h"
#include "client/help.h"
#include "client/output.h"

static bool is_noun(const char *word)
{
    for (size_t i = 0; i < command_count; i++)
        if (command_table[i].verb && strcmp(command_table[i].noun, word) == 0)
            return true;
    return false;
}

/* word[0..n-1] are what follows "kmsctl". *used = how many of them name the command. */
static const struct command *find(char **word, int n, int *used)
{
    for (size_t i = 0; i < command_count; i++) {
        const struct command *cmd = &command_table[i];

        if (strcmp(cmd->noun, word[0]) != 0 || (cmd->verb && (n < 2 || strcmp(cmd->verb, word[1]) != 0)))
            continue;
        *used = cmd->verb ? 2 : 1;
        return cmd;
    }
    return NULL;
}

static int usage(struct context *c)
{
    output_note("%s", c->error.detail);
    if (c->command)
        fprintf(stderr, "Try 'kmsctl %s%s%s --help'.\n", c->command->noun, c->command->verb ? " " : "", c->command->verb ? c->command->verb : "");
    else
        fputs("Try 'kmsctl --help'.\n", stderr);
    return KMS_USAGE;
}

static int unknown(char **word, int n)
{
    const char *verb = n > 1 && word[1][0] != '-' ? word[1] : NULL;
    const struct command *near = help_nearest(word[0], verb);

    output_note("unknown command '%s%s%s'", word[0], verb && is_noun(word[0]) ? " " : "", verb && is_noun(word[0]) ? verb : "");
    if (near)
        fprintf(stderr, "Did you mean 'kmsctl %s%s%s'?\n", near->noun, near->verb ? " " : "", near->verb ? near->verb : "");
    fputs("'kmsctl --help' lists the commands.\n", stderr);
    return KMS_USAGE;
}

/* Help that nobody could read is no success either. */
static int printed(struct context *c)
{
    if (!output_finish(c))
        return KMS_DONE;
    output_error(c);
    return (int)c->error.status;
}

/* "kmsctl key" and "kmsctl key --help". */
static int noun_alone(struct context *c, char **word, int n)
{
    bool asked = n > 1 && (strcmp(word[1], "--help") == 0 || strcmp(word[1], "-h") == 0);

    help_overview(asked ? stdout : stderr, word[0]);
    return asked ? printed(c) : KMS_USAGE;
}

static int run(struct context *c)
{
    int failed = config_output(c) || c->command->run(c);

    kms_close(&c->kms);
    if (output_finish(c) && !failed)
        failed = -1;
    if (!failed)
        return KMS_DONE;
    if (c->error.status == KMS_DONE) /* whatever failed without a word must not look like success */
        kms_fail_text(&c->error, KMS_REFUSED, "out of memory");
    if (c->error.status == KMS_USAGE)
        return usage(c);
    output_error(c);
    return (int)c->error.status;
}

static int dispatch(struct context *c, char **word, int n)
{
    int used = 0;

    if (n > 1 && strcmp(word[0], "help") == 0) {
        c->args.value[OPT_HELP] = "";
        word++;
        n--;
    }
    c->command = find(word, n, &used);
    if (!c->command && is_noun(word[0]) && (n < 2 || word[1][0] == '-'))
        return noun_alone(c, word, n);
    if (!c->command)
        return unknown(word, n);
    if (args_command(c, n - used + 1, word + used - 1))
        return usage(c);
    if (!c->args.value[OPT_HELP])
        return run(c);
    help_command(stdout, c->command);
    return printed(c);
}

static int whole_help(struct context *c)
{
    help_overview(stdout, NULL);
    return printed(c);
}

int main(int argc, char **argv)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    struct context c = {0};
    int first;

    process_harden();
    sigaction(SIGPIPE, &ignore, NULL);
    if (argc == 2 && strcmp(argv[1], "--version") == 0)
        return printf("kmsctl %s\n", KMSD_VERSION), printed(&c);
    if (argc == 2 && strcmp(argv[1], "--complete") == 0)
        return help_complete(stdout), printed(&c);
    if (args_common(&c, argc, argv, &first))
        return usage(&c);
    if (first < argc && !c.args.value[OPT_HELP] && strcmp(argv[first], "help") == 0 && first + 1 == argc)
        return whole_help(&c);
    if (first == argc && c.args.value[OPT_HELP])
        return whole_help(&c);
    if (first == argc)
        return help_overview(stderr, NULL), KMS_USAGE;
    return dispatch(&c, argv + first, argc - first);
}
