/* Puts a process behind its walls, in the order in which the kernel takes them. */
#include "kmsd/sandbox/sandbox.h"

#include <dirent.h>
#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

#include "base/log.h"

/* Sanitizers need system calls, and a look at their own process, that no role has. */
#ifdef KMSD_SANITIZED
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

static const char *const ROLE[] = {"core", "front", "health", "lane-sign", "lane-admin", "supervisor", "reader"};

/* Landlock holds for the thread that asked, and for those it starts later. */
static bool single_thread(void)
{
    DIR *tasks = opendir("/proc/self/task");
    unsigned n = 0;

    if (!tasks)
        return true;
    for (const struct dirent *d; (d = readdir(tasks));)
        n += d->d_name[0] != '.';
    (void)closedir(tasks);
    return n <= 1;
}

static int files(enum sandbox_role role, const struct settings *s, struct err *e)
{
    static struct walls w; /* large; one call a process */

    if (role == SANDBOX_SUPERVISOR) /* its children inherit what it has, and need other files */
        return 0;
    if (!single_thread()) {
        log_line(LOG_LEVEL_WARNING, "sandbox", "role=%s text=\"the PKCS#11 module started threads that Landlock does not reach\"", ROLE[role]);
        return 0;
    }
    return walls_of(role, s, &w, e) ? -1 : landlock_apply(&w, e);
}

static int refuse(enum sandbox_role role, int filter, int landlock, struct err *e)
{
    if (filter <= 0)
        return err_set(e, ERR_BAD_REQUEST, "sandbox: required, but this kernel does not let seccomp filter system calls");
    if (landlock <= 0 && role != SANDBOX_SUPERVISOR)
        return err_set(e, ERR_BAD_REQUEST, "sandbox: required, but Landlock does not confine this process (%s); set sandbox: auto to run without it",
                       landlock_version() ? "it has threads already" : "the kernel has none");
    return 0;
}

/* A wall that could not be built although the kernel knows of it, say because a container around us used it up. */
static bool tolerate(enum sandbox_role role, bool required, struct err *e)
{
    if (required)
        return false;
    log_line(LOG_LEVEL_WARNING, "sandbox", "role=%s text=\"%s\"", ROLE[role], e->detail);
    *e = (struct err){0};
    return true;
}

static void describe(int filter, int landlock, char level[static SANDBOX_LEVEL])
{
    if (landlock > 0)
        snprintf(level, SANDBOX_LEVEL, "%slandlock%d", filter > 0 ? "seccomp+" : "", landlock);
    else
        snprintf(level, SANDBOX_LEVEL, "%s", filter > 0 ? "seccomp" : "none");
}

/* A supervisor whose children run as other accounts must start and end them, and see the mark of a refused PIN in a directory of theirs. */
static uint64_t powers(enum sandbox_role role, const struct settings *s)
{
    const uint64_t keep = UINT64_C(1) << CAP_SETUID | UINT64_C(1) << CAP_SETGID | UINT64_C(1) << CAP_KILL | UINT64_C(1) << CAP_DAC_READ_SEARCH;

    return role == SANDBOX_SUPERVISOR && (*s->user_core || *s->user_front || *s->user_token || *s->user_reader) ? keep : 0;
}

int sandbox_enter(enum sandbox_role role, const struct settings *s, char level[static SANDBOX_LEVEL], struct err *e)
{
    bool required = s->sandbox == SETTINGS_SANDBOX_REQUIRED;
    int filter, landlock;

    snprintf(level, SANDBOX_LEVEL, "off");
    if (SANITIZED && required)
        return err_set(e, ERR_BAD_REQUEST, "sandbox: required, but this build is for sanitizers and has none");
    if (SANITIZED || s->sandbox == SETTINGS_SANDBOX_OFF) {
        log_line(LOG_LEVEL_WARNING, "sandbox", "role=%s walls=off text=\"%s\"", ROLE[role], SANITIZED ? "built for sanitizers" : "sandbox: off");
        return 0;
    }
    if (required && !landlock_version())
        return refuse(SANDBOX_CORE, 1, 0, e);
    if (caps_drop(powers(role, s), e))
        return -1;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return err_errno(e, ERR_INTERNAL, errno, "no_new_privs");
    landlock = files(role, s, e);
    if (landlock < 0 && !tolerate(role, required, e))
        return -1;
    filter = syscalls_apply(role, e);
    if ((filter < 0 && !tolerate(role, required, e)) || (required && refuse(role, filter, landlock, e)))
        return -1;
    describe(filter, landlock, level);
    log_line(LOG_LEVEL_INFO, "sandbox", "role=%s walls=%s", ROLE[role], level);
    return 0;
}
