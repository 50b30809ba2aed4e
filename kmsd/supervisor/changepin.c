/* `kmsd change-pin`: gives a token another PIN, chosen at random. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/fsutil.h"
#include "kmsd/supervisor/commands.h"
#include "kmsd/supervisor/offline.h"

static const char USAGE[] =
    "usage: kmsd change-pin keys|checkpoint (--settings FILE | --dir DIR) [--write FILE]\n"
    "\n"
    "Sets a new random PIN on that token and writes it to its PIN file; nobody needs to know it. The service must not run. The new PIN stands in\n"
    "PIN-FILE.new before the token is told: after a crash run the command again, it brings the change to its end.\n"
    "\n"
    "  --write FILE       where the PIN is a credential (pin_credential): the new one goes there, with its whole path, and stays there until you have\n"
    "                     put it in the place that the credential comes from\n";

struct change {
    struct settings settings;
    const struct token_settings *token;
    const char *which, *write;
};

static int change(const struct change *c, struct err *e)
{
    const char *const more[] = {"--change-pin", c->which, c->write ? "--write" : NULL, c->write, NULL};
    const struct token_settings *t = c->token;

    if (!*t->pin_file && !c->write)
        return err_set(e, ERR_BAD_REQUEST, "the PIN of token %s is the credential %s of the service: name a file for the new one, and run this where the "
                                           "credential is: systemd-run --pipe --wait -p User=ACCOUNT -p LoadCredential=%s:FILE kmsd change-pin %s "
                                           "--settings FILE --write FILE", settings_token_name(t), t->pin_credential, t->pin_credential, c->which);
    if (*t->pin_file && c->write)
        return err_set(e, ERR_BAD_REQUEST, "the PIN of token %s stands in %s, and so will the new one: leave out --write", settings_token_name(t), t->pin_file);
    if (c->write && *c->write != '/')
        return err_set(e, ERR_BAD_REQUEST, "--write needs the whole path of the file, from /");
    return offline_owner(&c->settings, e) || offline_not_sealed(&c->settings, e) || offline_lock(&c->settings, e) || offline_token(&c->settings, more, NULL, e)
               ? -1
               : 0;
}

static void tell(const struct change *c)
{
    const char *name = c->token->pin_credential;

    printf("token %s has another PIN; it stands in %s\n", settings_token_name(c->token), c->write ? c->write : c->token->pin_file);
    if (c->write)
        printf("next, before the service starts:\n  1. put it where the service manager takes the credential from: install -m 0600 %s /etc/kmsd/%s, or\n"
               "     systemd-creds encrypt --name=%s %s FILE for LoadCredentialEncrypted=\n  2. rm %s\n", c->write, name, name, c->write, c->write);
}

static int arguments(int argc, char **argv, struct change *c, char file[static PATH_MAX])
{
    static const struct option options[] = {{"settings", required_argument, NULL, 's'}, {"dir", required_argument, NULL, 'd'},
                                            {"write", required_argument, NULL, 'w'},    {"help", no_argument, NULL, 'h'}, {0}};
    int opt;

    while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (opt == 'w')
            c->write = optarg;
        else if (opt != 's' && opt != 'd')
            return opt == 'h' ? fputs(USAGE, stdout), 0 : offline_usage(argv, USAGE, NULL);
        else if (path_join(file, PATH_MAX, opt == 'd' ? optarg : "", opt == 'd' ? "kmsd.yaml" : optarg))
            return offline_usage(argv, USAGE, "the path is too long");
    }
    c->which = optind + 1 == argc ? argv[optind] : "";
    c->token = !strcmp(c->which, "keys") ? &c->settings.keys : &c->settings.checkpoint;
    if (strcmp(c->which, "keys") != 0 && strcmp(c->which, "checkpoint") != 0)
        return offline_usage(argv, USAGE, "which token? keys or checkpoint");
    return file[0] ? -1 : offline_usage(argv, USAGE, "which instance? --dir or --settings is missing");
}

int command_change_pin(int argc, char **argv)
{
    static struct change c;
    char file[PATH_MAX] = "";
    struct err e = {0};
    int code = arguments(argc, argv, &c, file);

    if (code >= 0)
        return code;
    if (settings_load(file, &c.settings, &e) || change(&c, &e)) {
        fprintf(stderr, "kmsd change-pin: %s\n", e.detail);
        return 1;
    }
    tell(&c);
    return 0;
}
