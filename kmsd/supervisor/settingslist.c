/* kmsd settings: every setting of kmsd.yaml, from the table that reads the file. */
#include <stdio.h>
#include <string.h>

#include "kmsd/settings.h"
#include "kmsd/supervisor/commands.h"

static const char HELP[] =
    "usage: kmsd settings\n"
    "\n"
    "Lists every setting of kmsd.yaml: its path, what it takes, whether it must be there or has a default, and what it is for.\n"
    "A path with dots is nested: listen.ci is the member ci of listen. The file also has the line `version: 1`.\n";

static void print(void *ctx, const struct settings_fact *fact)
{
    (void)ctx;
    printf("%s (%s", fact->path, fact->values);
    if (fact->required)
        fputs("; required", stdout);
    if (fact->unless)
        printf(" unless %s", fact->unless);
    if (fact->has_default)
        printf("; default %llu", (unsigned long long)fact->dflt);
    printf(")\n    %s\n", fact->help);
}

int command_settings(int argc, char **argv)
{
    if (argc > 1) {
        int asked = !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h");

        fputs(HELP, asked ? stdout : stderr);
        return asked ? 0 : 2;
    }
    settings_each(print, NULL);
    return fflush(stdout) ? 1 : 0;
}
