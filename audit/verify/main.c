/* kms-audit: checks and shows audit logs without the service that wrote them. */
#include <stdio.h>
#include <string.h>

#include "audit/verify/show.h"
#include "audit/verify/verify.h"

static const char HELP[] =
    "kms-audit checks and shows the audit log of kmsd. It needs neither daemon nor network and trusts neither.\n"
    "\n"
    "usage: kms-audit COMMAND DIR [OPTIONS]\n"
    "\n"
    "  verify DIR    is the log what the service wrote? (exit 0 sound, 1 tampered, 2 evidence missing or unusable)\n"
    "  show DIR      print records, filtered\n"
    "  version       print the version\n"
    "\n"
    "DIR is a data directory, its audit/ folder, or a copy of either. kms-audit COMMAND --help says more.\n"
    "\n"
    "  kms-audit verify /var/lib/kmsd --head 4711:9f86d0...\n"
    "  kms-audit show /var/lib/kmsd --event sign.release --app shop --since 2026-03-01\n";

static int version_main(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    puts("kms-audit " KMSD_VERSION);
    return EXIT_SOUND;
}

static int help_main(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    fputs(HELP, stdout);
    return EXIT_SOUND;
}

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
} COMMANDS[] = {
    {"verify", verify_main}, {"show", show_main}, {"version", version_main}, {"--version", version_main},
    {"help", help_main},     {"--help", help_main}, {"-h", help_main},
};

/* What could not be printed was not shown: that is no success, whatever was found. */
static int printed(int code)
{
    if (!fflush(stdout) && !ferror(stdout))
        return code;
    fputs("kms-audit: standard output cannot be written\n", stderr);
    return code ? code : EXIT_UNUSABLE;
}

int main(int argc, char **argv)
{
    static char name[64]; /* as getopt_long names the program */

    for (size_t i = 0; argc > 1 && i < sizeof COMMANDS / sizeof *COMMANDS; i++) {
        if (strcmp(argv[1], COMMANDS[i].name))
            continue;
        (void)snprintf(name, sizeof name, "kms-audit %s", argv[1]);
        argv[1] = name;
        return printed(COMMANDS[i].run(argc - 1, argv + 1));
    }
    if (argc > 1)
        fprintf(stderr, "kms-audit: there is no command %s\n\n", argv[1]);
    fputs(HELP, stderr);
    return EXIT_USAGE;
}
