/* Finds and runs the programs that belong to kmsd. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fsutil.h"
#include "kmsd/supervisor/instance.h"

int program_path(const char *name, bool libexec, char *out, size_t size, struct err *e)
{
    char self[PATH_MAX], dir[PATH_MAX];
    const char *given = libexec ? getenv("KMSD_LIBEXEC") : NULL;
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);

    if (n <= 0)
        return err_errno(e, ERR_INTERNAL, errno, "/proc/self/exe");
    self[n] = '\0';
    *strrchr(self, '/') = '\0';
    if (!given && libexec && path_join(dir, sizeof dir, self, "../libexec/kmsd"))
        return err_set(e, ERR_INTERNAL, "the path of this program is too long");
    if (path_join(out, size, given ? given : libexec ? dir : self, name))
        return err_set(e, ERR_INTERNAL, "the path of %s is too long", name);
    return access(out, X_OK) ? err_errno(e, ERR_INTERNAL, errno, "%s", out) : 0;
}

static void child(const char *const argv[], const char *const env[], const struct account *as, int out_fd)
{
    for (unsigned n = 0; env && env[n]; n++) {
        char *copy = strdup(env[n]);

        if (!copy || putenv(copy))
            _exit(127);
    }
    if (out_fd >= 0 && dup2(out_fd, STDOUT_FILENO) < 0)
        _exit(127);
    if (as && account_become(as))
        _exit(127);
    execvp(argv[0], (char *const *)(uintptr_t)argv);
    _exit(127);
}

static int drain(int fd, struct buf *out)
{
    char part[4096];
    ssize_t n;

    while ((n = read(fd, part, sizeof part)) > 0 || (n < 0 && errno == EINTR))
        if (n > 0)
            buf_put(out, part, (size_t)n);
    return buf_ok(out);
}

static int run(const char *const argv[], const char *const env[], const struct account *as, struct buf *out, struct err *e)
{
    int fds[2] = {-1, -1}, status, failed = 0;
    pid_t pid;

    if (out && pipe2(fds, O_CLOEXEC))
        return err_errno(e, ERR_INTERNAL, errno, "a pipe");
    pid = fork();
    if (pid == 0)
        child(argv, env, as, fds[1]);
    if (fds[1] >= 0)
        close(fds[1]);
    if (pid < 0)
        return err_errno(e, ERR_INTERNAL, errno, "starting %s", argv[0]);
    if (out)
        failed = drain(fds[0], out);
    if (fds[0] >= 0)
        close(fds[0]);
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return err_errno(e, ERR_INTERNAL, errno, "waiting for %s", argv[0]);
    if (failed || !WIFEXITED(status) || WEXITSTATUS(status) == 127)
        return err_set(e, ERR_INTERNAL, "%s did not run to its end", argv[0]);
    return WEXITSTATUS(status);
}

int program_run(const char *const argv[], const char *const env[], struct buf *out, struct err *e)
{
    return run(argv, env, NULL, out, e);
}

int program_run_as(const char *const argv[], const struct account *as, struct buf *out, struct err *e)
{
    return run(argv, NULL, as, out, e);
}
