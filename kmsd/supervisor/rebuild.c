/* `kmsd rebuild-index`: makes the index of the audit log anew while the service is stopped. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kmsd/supervisor/account.h"
#include "kmsd/supervisor/commands.h"
#include "kmsd/supervisor/instance.h"
#include "kmsd/supervisor/offline.h"

static const char USAGE[] =
    "usage: kmsd rebuild-index (--settings FILE | --dir DIR)\n"
    "\n"
    "Makes the index that searches use from the audit log, whatever the old one held. The log itself is only read.\n"
    "A service does this by itself when its index is missing, damaged or of another log; with this command it is done before\n"
    "the service starts. Says on standard error how far it is. Some ten seconds for a million records.\n";

/* As the account that the reader has, or it could not go on with what root made. */
static int run(const struct settings *s, struct err *e)
{
    char program[PATH_MAX];
    const char *const argv[] = {program, "--settings", s->file, "--rebuild", NULL};
    struct account account;
    int status = 0;
    pid_t pid;

    if (program_path("kmsd-reader", true, program, sizeof program, e) || account_of(s, CHILD_READER, &account, e))
        return -1;
    pid = fork();
    if (pid < 0)
        return err_errno(e, ERR_INTERNAL, errno, "starting %s", program);
    if (!pid) {
        if (!account_become(&account))
            execv(program, (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return err_errno(e, ERR_INTERNAL, errno, "waiting for %s", program);
    if (WIFEXITED(status) && WEXITSTATUS(status) != 127)
        return WEXITSTATUS(status);
    return err_set(e, ERR_INTERNAL, "%s did not run to its end", program);
}

int command_rebuild_index(int argc, char **argv)
{
    static struct settings s;
    struct err e = {0};
    int result = offline_settings(argc, argv, USAGE, &s, &e);

    if (result < 0 && !e.code && (geteuid() || !offline_owner(&s, &e)))
        result = run(&s, &e);
    if (result >= 0)
        return result;
    fprintf(stderr, "kmsd rebuild-index: %s\n", e.detail);
    return 1;
}
