/* getopt_long over the table of options. */
#include "client/args.h"

#include <getopt.h>
#include <string.h>

static bool listed(const struct command *cmd, enum opt_code o)
{
    for (size_t i = 0; i < OPT_LIST_MAX && cmd->options[i]; i++)
        if (cmd->options[i] == o)
            return true;
    return false;
}

bool args_takes(const struct command *cmd, enum opt_code o)
{
    if (o == OPT_CERT_ALIAS)
        return !cmd || !listed(cmd, OPT_CERT);
    return o <= OPT_LAST_COMMON || (cmd && listed(cmd, o));
}

/* The value getopt_long returns for option o; beyond every character. */
#define LONG_BASE 1000

static void fill(const struct command *cmd, struct option longs[static OPT_COUNT + 1])
{
    size_t n = 0;

    for (int o = 0; o < OPT_COUNT; o++)
        if (args_takes(cmd, (enum opt_code)o))
            longs[n++] = (struct option){option_table[o].name, option_table[o].arg ? required_argument : no_argument, NULL, LONG_BASE + o};
    longs[n] = (struct option){0};
}

static int take(struct context *c, int o)
{
    if (o == OPT_CERT_ALIAS)
        o = OPT_CLIENT_CERT;
    if (o == OPT_SSH && c->args.n_ssh == OPT_REPEAT_MAX)
        return kms_fail_text(&c->error, KMS_USAGE, "--ssh may be given %d times", OPT_REPEAT_MAX);
    if (o == OPT_SSH)
        c->args.ssh[c->args.n_ssh++] = optarg;
    c->args.value[o] = option_table[o].arg ? optarg : "";
    return 0;
}

static int unusable(struct context *c, int got, char **argv)
{
    const char *text = optind > 0 ? argv[optind - 1] : "";

    if (got == ':')
        return kms_fail_text(&c->error, KMS_USAGE, "%s needs an argument", text);
    if (optopt >= LONG_BASE)
        return kms_fail_text(&c->error, KMS_USAGE, "%s takes no argument", text);
    if (optopt)
        return kms_fail_text(&c->error, KMS_USAGE, "unknown option -%c", optopt);
    return kms_fail_text(&c->error, KMS_USAGE, "unknown or ambiguous option %s", text);
}

static int scan(struct context *c, int argc, char **argv, const char *shorts)
{
    struct option longs[OPT_COUNT + 1];
    int got;

    fill(c->command, longs);
    optind = 0; /* glibc: start anew */
    opterr = 0;
    while ((got = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
        int o = got == 'h' ? OPT_HELP : got == 'o' ? OPT_OUTPUT : got - LONG_BASE;

        if (got == '?' || got == ':')
            return unusable(c, got, argv);
        if (take(c, o))
            return -1;
    }
    return 0;
}

int args_common(struct context *c, int argc, char **argv, int *used)
{
    if (scan(c, argc, argv, "+:ho:"))
        return -1;
    *used = optind;
    return 0;
}

static int check_count(struct context *c)
{
    const struct command *cmd = c->command;
    const char *lacking = cmd->words;
    int n = c->args.n_words;

    for (int i = 0; i < n && strchr(lacking, ' '); i++)
        lacking = strchr(lacking, ' ') + 1;
    if (n < cmd->min_words)
        return kms_fail_text(&c->error, KMS_USAGE, "%s is missing", lacking);
    if (cmd->max_words >= 0 && n > cmd->max_words)
        return kms_fail_text(&c->error, KMS_USAGE, "unexpected argument '%s'", c->args.word[cmd->max_words]);
    return 0;
}

int args_command(struct context *c, int argc, char **argv)
{
    if (scan(c, argc, argv, ":ho:"))
        return -1;
    c->args.word = argv + optind;
    c->args.n_words = argc - optind;
    return c->args.value[OPT_HELP] ? 0 : check_count(c);
}
