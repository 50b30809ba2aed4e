/* Confines files, TCP and signals through Landlock, with whatever version of it the kernel has. */
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kmsd/sandbox/sandbox.h"

/* Debian 12's header ends at version 2; these come from the kernel's documented interface. */
#define FS_TRUNCATE (UINT64_C(1) << 14)  /* version 3 */
#define FS_IOCTL_DEV (UINT64_C(1) << 15) /* version 5 */
#define NET_BIND (UINT64_C(1) << 0)      /* version 4 */
#define NET_CONNECT (UINT64_C(1) << 1)
#define SCOPE_ABSTRACT (UINT64_C(1) << 0) /* version 6 */
#define SCOPE_SIGNAL (UINT64_C(1) << 1)
struct ruleset {
    uint64_t fs, net, scoped;
};

#define FS_READ ((uint64_t)(LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR))
#define FS_WRITE ((uint64_t)(LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE | \
                             LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REFER) | FS_TRUNCATE)
#define FS_DEVICE (FS_IOCTL_DEV | LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO)
#define FS_ON_FILES ((uint64_t)(LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_EXECUTE) | FS_TRUNCATE | FS_IOCTL_DEV)

/* What each version brought: file rights up to a bit, and the length of the attribute. */
static const struct {
    uint64_t fs;
    size_t size;
} VERSIONS[] = {
    {0, 0},
    {(UINT64_C(1) << 13) - 1, 8},
    {(UINT64_C(1) << 14) - 1, 8},
    {(UINT64_C(1) << 15) - 1, 8},
    {(UINT64_C(1) << 15) - 1, 16},
    {(UINT64_C(1) << 16) - 1, 16},
    {(UINT64_C(1) << 16) - 1, 24},
};
#define NEWEST (int)(sizeof VERSIONS / sizeof *VERSIONS - 1)

int landlock_version(void)
{
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

    return version > 0 ? (int)version : 0;
}

static uint64_t rights(enum wall_access access)
{
    return (access & WALL_READ ? FS_READ : 0) | (access & WALL_WRITE ? FS_WRITE : 0) | (access & WALL_DEVICE ? FS_DEVICE : 0);
}

/* What is not there needs no right. */
static int allow(int ruleset, uint64_t handled, const struct wall_path *p, struct err *e)
{
    struct landlock_path_beneath_attr rule = {.allowed_access = rights(p->access) & handled, .parent_fd = open(p->path, O_PATH | O_CLOEXEC)};
    struct stat st;
    long failed;

    if (rule.parent_fd < 0)
        return errno == ENOENT || errno == ENOTDIR || errno == EACCES ? 0 : err_errno(e, ERR_INTERNAL, errno, "%s", p->path);
    if (!fstat(rule.parent_fd, &st) && !S_ISDIR(st.st_mode))
        rule.allowed_access &= FS_ON_FILES;
    failed = rule.allowed_access ? syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) : 0;
    if (failed)
        err_errno(e, ERR_INTERNAL, errno, "Landlock: %s", p->path);
    (void)close(rule.parent_fd);
    return failed ? -1 : 0;
}

static int allow_all(int ruleset, uint64_t handled, const struct walls *w, struct err *e)
{
    for (size_t n = 0; n < w->n; n++)
        if (allow(ruleset, handled, &w->path[n], e))
            return -1;
    return syscall(SYS_landlock_restrict_self, ruleset, 0) ? err_errno(e, ERR_INTERNAL, errno, "Landlock") : 0;
}

int landlock_apply(const struct walls *w, struct err *e)
{
    int version = landlock_version(), known = version < NEWEST ? version : NEWEST, fd, failed;
    struct ruleset attr = {.fs = VERSIONS[known].fs};

    if (!version)
        return 0;
    if (known >= 4 && !w->network)
        attr.net = NET_BIND | NET_CONNECT;
    if (known >= 6)
        attr.scoped = SCOPE_SIGNAL | (w->abstract ? 0 : SCOPE_ABSTRACT);
    fd = (int)syscall(SYS_landlock_create_ruleset, &attr, VERSIONS[known].size, 0);
    if (fd < 0)
        return err_errno(e, ERR_INTERNAL, errno, "Landlock");
    failed = allow_all(fd, attr.fs, w, e);
    (void)close(fd);
    return failed ? -1 : version;
}
