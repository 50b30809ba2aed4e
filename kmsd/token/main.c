/* kmsd-token: the only program that holds a PIN or talks to a PKCS#11 module. */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/num.h"
#include "base/secret.h"
#include "kmsd/token/changepin.h"
#include "kmsd/token/lane.h"
#include "kmsd/token/offlineissue.h"
#include "kmsd/token/renewca.h"
#include "kmsd/token/setup.h"

#define EXIT_USAGE 2
#define EXIT_SETTINGS 78
#define PID_MAX INT32_MAX
#define INDEX_MAX 1023

struct arguments {
    const char *settings, *lane, *spki, *change_pin, *write, *csr;
    uint64_t index, parent;
    bool set_up, renew_server, renew_ca, recover_admin;
    struct setup_options setup;
};

static const char usage_text[] =
    "usage: kmsd-token --settings FILE --lane sign|admin --index N [--parent PID]\n"
    "           serves frames on descriptor 3; started by kmsd\n"
    "       kmsd-token --settings FILE --setup --origin NAME [--admin-csr FILE [--admin-out FILE] [--admin-cn NAME]]\n"
    "           prepares the tokens, CA and TLS certificate of a new instance\n"
    "       kmsd-token --settings FILE --renew-server --spki BASE64\n"
    "           prints a certificate of the doors for that public key\n"
    "       kmsd-token --settings FILE --renew-ca\n"
    "           makes another CA key and prints it with its certificate\n"
    "       kmsd-token --settings FILE --recover-admin --csr BASE64 --admin-cn NAME\n"
    "           prints a certificate for that signing request\n"
    "       kmsd-token --settings FILE --change-pin keys|checkpoint [--write FILE]\n"
    "           sets a new random PIN and writes it to the PIN file, or to FILE where the PIN is a credential\n";

static int usage(const char *problem)
{
    (void)fprintf(stderr, "kmsd-token: %s\n%s", problem, usage_text);
    return EXIT_USAGE;
}

static const struct option options[] = {
    {"settings", required_argument, NULL, 's'}, {"lane", required_argument, NULL, 'l'},      {"index", required_argument, NULL, 'i'},
    {"parent", required_argument, NULL, 'p'},   {"setup", no_argument, NULL, 'S'},           {"origin", required_argument, NULL, 'o'},
    {"admin-csr", required_argument, NULL, 'c'}, {"admin-out", required_argument, NULL, 'O'}, {"admin-cn", required_argument, NULL, 'n'},
    {"renew-server", no_argument, NULL, 'r'},   {"spki", required_argument, NULL, 'k'},      {"change-pin", required_argument, NULL, 'P'},
    {"write", required_argument, NULL, 'w'},    {"recover-admin", no_argument, NULL, 'R'},  {"csr", required_argument, NULL, 'C'},
    {"renew-ca", no_argument, NULL, 'A'},       {"help", no_argument, NULL, 'h'},            {NULL, 0, NULL, 0},
};

/* 0 = parsed, else the exit code plus one. */
static int parse(int argc, char **argv, struct arguments *a)
{
    int c;

    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case 's': a->settings = optarg; break;
        case 'l': a->lane = optarg; break;
        case 'S': a->set_up = true; break;
        case 'r': a->renew_server = true; break;
        case 'A': a->renew_ca = true; break;
        case 'k': a->spki = optarg; break;
        case 'P': a->change_pin = optarg; break;
        case 'w': a->write = optarg; break;
        case 'R': a->recover_admin = true; break;
        case 'C': a->csr = optarg; break;
        case 'o': a->setup.origin = optarg; break;
        case 'c': a->setup.admin_csr = optarg; break;
        case 'O': a->setup.admin_out = optarg; break;
        case 'n': a->setup.admin_cn = optarg; break;
        case 'i':
            if (num_parse_u64(optarg, strlen(optarg), 0, INDEX_MAX, &a->index))
                return 1 + usage("--index is not a number");
            break;
        case 'p':
            if (num_parse_u64(optarg, strlen(optarg), 1, PID_MAX, &a->parent))
                return 1 + usage("--parent is not a process id");
            break;
        case 'h': (void)fputs(usage_text, stdout); return 1;
        default: return 1 + usage("unknown or incomplete option");
        }
    }
    return optind == argc ? 0 : 1 + usage("arguments left over");
}

static int check_setup(const struct setup_options *o)
{
    if (!o->origin)
        return usage("--setup needs --origin");
    return o->admin_out && !o->admin_csr ? usage("--admin-out needs --admin-csr") : 0;
}

static int check(const struct arguments *a)
{
    if (!a->settings)
        return usage("--settings is missing");
    if (a->set_up + a->renew_server + a->renew_ca + a->recover_admin + (a->lane != NULL) + (a->change_pin != NULL) != 1)
        return usage("either --lane, --setup, --renew-server, --renew-ca, --recover-admin or --change-pin");
    if (a->recover_admin != (a->csr != NULL))
        return usage("--recover-admin needs --csr");
    if (a->recover_admin || a->renew_ca)
        return 0;
    if (a->change_pin)
        return strcmp(a->change_pin, "keys") && strcmp(a->change_pin, "checkpoint") ? usage("--change-pin is keys or checkpoint") : 0;
    if (a->renew_server != (a->spki != NULL))
        return usage("--renew-server needs --spki");
    if (a->renew_server)
        return 0;
    if (a->set_up)
        return check_setup(&a->setup);
    return strcmp(a->lane, "sign") && strcmp(a->lane, "admin") ? usage("--lane is sign or admin") : 0;
}

static int run_once(const struct settings *s, const struct arguments *a)
{
    BUF_AUTO line = BUF_INIT(65536);
    struct fault f = {0};
    int bad = a->set_up         ? setup_run(s, &a->setup, &line, &f)
              : a->renew_server ? renew_server(s, a->spki, &line, &f)
              : a->renew_ca     ? renew_ca(s, &line, &f)
              : a->recover_admin ? recover_admin(s, a->csr, a->setup.admin_cn, &line, &f)
                                : changepin_run(s, strcmp(a->change_pin, "keys") ? &s->checkpoint : &s->keys, a->write, &f);

    if (bad) {
        (void)fprintf(stderr, "kmsd-token: %s\n", f.reason);
        return 1;
    }
    return (!line.len || fwrite(line.data, 1, line.len, stdout) == line.len) && !fflush(stdout) ? 0 : 1;
}

int main(int argc, char **argv)
{
    static struct settings settings;
    struct arguments a = {.setup.admin_cn = "administrator"};
    struct err e = {0};
    int code;

    process_harden();
    code = parse(argc, argv, &a);
    if (code)
        return code - 1;
    code = check(&a);
    if (code)
        return code;
    if (a.parent)
        process_tie_to_parent((int)a.parent);
    log_program("kmsd-token");
    (void)sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
    if (settings_load(a.settings, &settings, &e)) {
        (void)fprintf(stderr, "kmsd-token: %s\n", e.detail);
        return EXIT_SETTINGS;
    }
    log_set(settings.log_format, settings.log_level);
    return a.lane ? lane_run(&settings, !strcmp(a.lane, "admin"), (unsigned)a.index, argv) : run_once(&settings, &a);
}
