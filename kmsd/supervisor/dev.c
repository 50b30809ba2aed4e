/* `kmsd dev`: a development server in one directory. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fsutil.h"
#include "kmsd/supervisor/commands.h"
#include "kmsd/supervisor/devserver.h"
#include "kmsd/supervisor/offline.h"

static const char USAGE[] =
    "usage: kmsd dev --dir DIR [--listen 127.0.0.1:PORT] [--module FILE] [--detach | --stop]\n"
    "\n"
    "Prepares whatever is missing in DIR and runs a development server there, on loopback only.\n"
    "Its statements say environment: development; kmsctl verify refuses them without --allow-dev.\n"
    "\n"
    "  --dir DIR        directory of the instance; made when it is missing\n"
    "  --listen A:PORT  ci door (default 127.0.0.1:8443); the administration door is the next port; 0 picks free ports\n"
    "  --module FILE    PKCS#11 module (default: SoftHSM)\n"
    "  --detach         return when the server is ready; its messages go to DIR/kmsd.log\n"
    "  --stop           stop the server of DIR\n";

static int fail(const struct err *e)
{
    fprintf(stderr, "kmsd dev: %s\n", e->detail);
    return 1;
}

static int absolute(const char *given, struct devserver *d)
{
    char cwd[PATH_MAX];

    if (!getcwd(cwd, sizeof cwd))
        return -1;
    return path_join(d->dir, sizeof d->dir, cwd, given);
}

static void greet(const struct devserver *d, pid_t pid)
{
    printf("kmsd development server ready (pid %d)\n", (int)pid);
    printf("  ci door     https://%s      . %s/ci.env\n", d->settings.listen_ci, d->dir);
    printf("  admin door  https://%s      . %s/env\n", d->settings.listen_admin, d->dir);
    fflush(stdout);
}

static int serve(struct devserver *d)
{
    struct err e = {0};
    pid_t pid;

    if (geteuid() == 0)
        fprintf(stderr, "kmsd dev: warning: running as root; an ordinary user is enough\n");
    if (dev_prepare(d, &e))
        return fail(&e);
    pid = dev_start(d, &e);
    if (pid < 0)
        return fail(&e);
    if (dev_provision(d, &e)) {
        struct err ignored = {0};

        if (dev_stop(d, &ignored))
            fprintf(stderr, "kmsd dev: %s\n", ignored.detail);
        return fail(&e);
    }
    greet(d, pid);
    return d->detach ? 0 : dev_wait(pid);
}

int command_dev(int argc, char **argv)
{
    static const struct option options[] = {{"dir", required_argument, NULL, 'd'},  {"listen", required_argument, NULL, 'l'}, {"module", required_argument, NULL, 'm'},
                                            {"detach", no_argument, NULL, 'b'},     {"stop", no_argument, NULL, 's'},         {"help", no_argument, NULL, 'h'},
                                            {0}};
    struct devserver d = {.listen = "127.0.0.1:8443"};
    const char *dir = NULL;
    bool stop = false;
    struct err e = {0};
    int opt;

    while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (opt == 'd')
            dir = optarg;
        else if (opt == 'l' && strlen(optarg) < sizeof d.listen)
            memcpy(d.listen, optarg, strlen(optarg) + 1);
        else if (opt == 'm')
            d.module = optarg;
        else if (opt == 'b')
            d.detach = true;
        else if (opt == 's')
            stop = true;
        else
            return opt == 'h' ? fputs(USAGE, stdout), 0 : offline_usage(argv, USAGE, opt == 'l' ? "the address of --listen is too long" : NULL);
    }
    if (!dir || optind != argc || absolute(dir, &d))
        return offline_usage(argv, USAGE, !dir ? "--dir is missing" : optind != argc ? "there is an argument that is no option" : "the path is too long");
    if (!stop)
        return serve(&d);
    return dev_stop(&d, &e) ? fail(&e) : 0;
}
