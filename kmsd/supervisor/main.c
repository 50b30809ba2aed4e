/* kmsd: finds the subcommand and hands over. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/secret.h"
#include "kmsd/supervisor/commands.h"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
} COMMANDS[] = {
    {"run", command_run, "run the service of a directory made by init"},
    {"init", command_init, "create an instance: tokens, CA, first administrator, first log record"},
    {"check", command_check, "say in words what is wrong with settings, files, certificates and log"},
    {"unseal", command_unseal, "let kmsd try a token's PIN again after it was refused"},
    {"anchor", command_anchor, "show what the anchor says about the log; accept a log that does not hold it"},
    {"change-pin", command_change_pin, "another PIN for a token, chosen at random"},
    {"rebuild-index", command_rebuild_index, "make the index of the audit log anew, while the service is stopped"},
    {"recover-admin", command_recover_admin, "let another administrator in where none is left"},
    {"renew-ca", command_renew_ca, "another CA beside the one that is there"},
    {"renew-server", command_renew_server, "another certificate for the TLS key of the doors"},
    {"settings", command_settings, "list every setting of kmsd.yaml"},
    {"dev", command_dev, "prepare and run a development server in one directory"},
};
#define N_COMMANDS (sizeof COMMANDS / sizeof *COMMANDS)

static void usage(FILE *to)
{
    fputs("usage: kmsd COMMAND [options]\n\ncommands:\n", to);
    for (size_t n = 0; n < N_COMMANDS; n++)
        fprintf(to, "  %-14s %s\n", COMMANDS[n].name, COMMANDS[n].help);
    fputs("\nkmsd COMMAND --help tells the options of a command; kmsd --version the version.\n", to);
}

int main(int argc, char **argv)
{
    static char name[64]; /* as messages name the command */

    process_harden();
    log_program("kmsd");
    if (argc < 2)
        return usage(stderr), 2;
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help"))
        return usage(stdout), 0;
    if (!strcmp(argv[1], "--version"))
        return puts("kmsd " KMSD_VERSION), 0;
    for (size_t n = 0; n < N_COMMANDS; n++) {
        if (strcmp(argv[1], COMMANDS[n].name))
            continue;
        (void)snprintf(name, sizeof name, "kmsd %s", COMMANDS[n].name);
        argv[1] = name;
        return COMMANDS[n].run(argc - 1, argv + 1);
    }
    fprintf(stderr, "kmsd: there is no command %.64s\n", argv[1]);
    return usage(stderr), 2;
}
