/* `kmsd init`: creates a production instance. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fsutil.h"
#include "kmsd/supervisor/commands.h"
#include "kmsd/supervisor/instance.h"
#include "kmsd/supervisor/offline.h"
#include "policy/policy.h"

static const char USAGE[] =
    "usage: kmsd init --dir DIR --origin NAME (--admin-csr FILE | --admin-cert FILE) --admin-ssh FILE.pub [options]\n"
    "\n"
    "Creates tokens, CA, server certificate and the first record of the log in DIR.\n"
    "\n"
    "  --dir DIR          directory of the instance; made when it is missing\n"
    "  --origin NAME      name of the instance, e.g. kms.example.com\n"
    "  --admin-csr FILE   signing request of the first administrator; the certificate is written to DIR/admin.pem\n"
    "  --admin-cert FILE  or: a certificate that the first administrator has already\n"
    "  --admin-ssh FILE   SSH public key that signs the first administrator's changes (may be repeated)\n"
    "  --policy FILE      first policy (default: founders administer, nobody signs)\n"
    "  --listen-ci A:P    ci door (default 127.0.0.1:8443)\n"
    "  --listen-admin A:P administration door (default 127.0.0.1:8444)\n"
    "  --module FILE      PKCS#11 module (default: SoftHSM)\n";

static int fail(const struct err *e)
{
    fprintf(stderr, "kmsd init: %s\n", e->detail);
    return 1;
}

static int run(struct instance_plan *plan, const char *policy_file)
{
    BUF_AUTO policy = BUF_INIT(POLICY_TEXT_MAX);
    char handle[ADMIN_HANDLE], out[PATH_MAX];
    struct err e = {0};

    plan->policy = example_policy("bootstrap");
    if (policy_file && file_read(policy_file, &policy, &e))
        return fail(&e);
    if (policy_file)
        plan->policy = buf_span(&policy);
    if (path_join(out, sizeof out, plan->dir, "admin.pem"))
        return fprintf(stderr, "kmsd init: the path %s is too long\n", plan->dir), 1;
    plan->admin_out = out;
    if (plan->admin_csr && file_yields(out, "move it away", &e))
        return fail(&e);
    if (instance_create(plan, handle, &e))
        return fail(&e);
    printf("created %s\n  origin  %s\n  first administrator  %s\n", plan->dir, plan->origin, handle);
    if (plan->admin_csr)
        printf("  administrator certificate  %s\n", out);
    printf("next: kmsd check --settings %s/kmsd.yaml; kmsd run --settings %s/kmsd.yaml\n", plan->dir, plan->dir);
    return 0;
}

static const char *lacking(const struct instance_plan *p)
{
    if (!p->dir)
        return "--dir is missing";
    if (!p->origin)
        return "--origin is missing";
    if (!p->n_admin_ssh)
        return "--admin-ssh is missing";
    if (!p->admin_csr && !p->admin_cert)
        return "--admin-csr is missing (or --admin-cert)";
    return p->admin_csr && p->admin_cert ? "--admin-csr or --admin-cert, not both" : NULL;
}

int command_init(int argc, char **argv)
{
    static const struct option options[] = {{"dir", required_argument, NULL, 'd'},        {"origin", required_argument, NULL, 'o'},
                                            {"admin-csr", required_argument, NULL, 'r'},  {"admin-cert", required_argument, NULL, 'c'},
                                            {"admin-ssh", required_argument, NULL, 's'},  {"policy", required_argument, NULL, 'p'},
                                            {"listen-ci", required_argument, NULL, 'l'},  {"listen-admin", required_argument, NULL, 'a'},
                                            {"module", required_argument, NULL, 'm'},     {"help", no_argument, NULL, 'h'},
                                            {0}};
    struct instance_plan plan = {.mode = "production", .listen_ci = "127.0.0.1:8443", .listen_admin = "127.0.0.1:8444"};
    const char *policy = NULL, *why;
    const char **const target[] = {['d'] = &plan.dir,       ['o'] = &plan.origin,       ['r'] = &plan.admin_csr, ['c'] = &plan.admin_cert, ['p'] = &policy,
                                   ['l'] = &plan.listen_ci, ['a'] = &plan.listen_admin, ['m'] = &plan.module};
    int opt;

    while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (opt == 's' && plan.n_admin_ssh < FOUNDERS_MAX)
            plan.admin_ssh[plan.n_admin_ssh++] = optarg;
        else if (opt != 's' && opt > 0 && opt < (int)(sizeof target / sizeof *target) && target[opt])
            *target[opt] = optarg;
        else
            return opt == 'h' ? fputs(USAGE, stdout), 0 : offline_usage(argv, USAGE, opt == 's' ? "--admin-ssh stands too often" : NULL);
    }
    why = optind != argc ? "there is an argument that is no option" : lacking(&plan);
    if (why)
        return offline_usage(argv, USAGE, why);
    return run(&plan, policy);
}
