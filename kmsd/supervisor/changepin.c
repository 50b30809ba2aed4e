/* `kmsd change-pin`: gives a token another PIN, chosen at random. */
#include <stdio.h>
#include <string.h>

#include "kmsd/supervisor/commands.h"
#include "kmsd/supervisor/offline.h"

static const char USAGE[] =
    "usage: kmsd change-pin keys|checkpoint (--settings FILE | --dir DIR)\n"
    "\n"
    "Sets a new random PIN on that token and writes it to its PIN file; nobody needs to know it. The service must not run. The new PIN stands in\n"
    "PIN-FILE.new before the token is told: after a crash run the command again, it brings the change to its end.\n";

static int change(const struct settings *s, const char *which, struct err *e)
{
    const char *const more[] = {"--change-pin", which, NULL};

    return offline_owner(s, e) || offline_not_sealed(s, e) || offline_lock(s, e) || offline_token(s, more, NULL, e) ? -1 : 0;
}

int command_change_pin(int argc, char **argv)
{
    const char *which = argc > 1 ? argv[1] : "";
    bool known = !strcmp(which, "keys") || !strcmp(which, "checkpoint");
    struct settings s;
    struct err e = {0};
    int code;

    if (known) {
        argv[1] = argv[0];
        argc--;
        argv++;
    }
    code = offline_settings(argc, argv, USAGE, &s, &e);
    if (code >= 0)
        return code;
    if (!known)
        return fputs(USAGE, stderr), 2;
    if (e.code || change(&s, which, &e)) {
        fprintf(stderr, "kmsd change-pin: %s\n", e.detail);
        return 1;
    }
    printf("token %s has another PIN; it stands in %s\n", settings_token_name(!strcmp(which, "keys") ? &s.keys : &s.checkpoint),
           settings_pin_place(!strcmp(which, "keys") ? &s.keys : &s.checkpoint));
    return 0;
}
