/* Secrets in a locked page of their own, and what keeps a process from giving its memory away. */
#include "base/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fsutil.h"

#define PAGE 4096

void secret_free(struct secret *s)
{
    if (s->data) {
        explicit_bzero(s->data, PAGE);
        munmap(s->data, PAGE);
    }
    *s = (struct secret){0};
}

static int allocate(struct secret *s, struct err *e)
{
    void *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    secret_free(s);
    if (page == MAP_FAILED)
        return err_errno(e, ERR_INTERNAL, errno, "memory for a secret");
    s->data = page;
    if (mlock(page, PAGE) || madvise(page, PAGE, MADV_DONTDUMP)) {
        int saved = errno;

        secret_free(s);
        return err_errno(e, ERR_INTERNAL, saved, "locking memory for a secret (raise the memlock limit)");
    }
    return 0;
}

static int check_file(int fd, const char *path, mode_t forbidden, struct err *e)
{
    struct stat st;

    if (fstat(fd, &st))
        return err_errno(e, ERR_BAD_REQUEST, errno, "%s", path);
    if (!S_ISREG(st.st_mode))
        return err_set(e, ERR_BAD_REQUEST, "%s is no regular file", path);
    if (st.st_uid != geteuid() && st.st_uid != 0)
        return err_set(e, ERR_BAD_REQUEST, "%s belongs to another user (uid %u): chown it", path, (unsigned)st.st_uid);
    if (st.st_mode & forbidden)
        return err_set(e, ERR_BAD_REQUEST, "%s may be read by others (mode %04o): chmod 0600 %s", path, (unsigned)(st.st_mode & 07777), path);
    return 0;
}

static int read_line(struct secret *s, const char *path, mode_t forbidden, struct err *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK), failed;
    ssize_t n;

    if (fd < 0 && errno == ELOOP)
        return err_set(e, ERR_BAD_REQUEST, "%s is a symbolic link: name the file itself", path);
    if (fd < 0)
        return err_errno(e, ERR_BAD_REQUEST, errno, "%s", path);
    failed = check_file(fd, path, forbidden, e) || allocate(s, e);
    n = failed ? 0 : read(fd, s->data, SECRET_MAX);
    close(fd);
    if (failed)
        return -1;
    if (n > 0 && s->data[n - 1] == '\n')
        s->data[--n] = '\0';
    if (n <= 0 || n >= SECRET_MAX || memchr(s->data, '\n', (size_t)n) || memchr(s->data, '\0', (size_t)n)) {
        secret_free(s);
        return err_set(e, ERR_BAD_REQUEST, "%s must hold one line of 1 to %d characters", path, SECRET_MAX - 1);
    }
    s->len = (size_t)n;
    return 0;
}

int secret_read_file(struct secret *s, const char *path, struct err *e)
{
    return read_line(s, path, 077, e);
}

int secret_read_credential(struct secret *s, const char *name, struct err *e)
{
    const char *dir = getenv("CREDENTIALS_DIRECTORY");
    char path[PATH_MAX];

    if (!dir || *dir != '/')
        return err_set(e, ERR_BAD_REQUEST, "there is no $CREDENTIALS_DIRECTORY for %s: give the service LoadCredential=%s:FILE, and run a command by hand as "
                                           "systemd-run --pipe --wait -p User=ACCOUNT -p LoadCredential=%s:FILE COMMAND", name, name, name);
    if (!*name || strchr(name, '/') || *name == '.' || path_join(path, sizeof path, dir, name))
        return err_set(e, ERR_BAD_REQUEST, "%s is no name of a credential", name);
    return read_line(s, path, 037, e);
}

int secret_random_text(struct secret *s, size_t n, struct err *e)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

    if (!n || n >= SECRET_MAX)
        return err_set(e, ERR_BAD_REQUEST, "a secret must have 1 to %d bytes", SECRET_MAX - 1);
    if (allocate(s, e))
        return -1;
    while (s->len < n) {
        uint8_t byte;

        if (random_bytes(&byte, 1)) {
            secret_free(s);
            return err_set(e, ERR_INTERNAL, "no random bytes");
        }
        if (byte < 248) /* 4 * 62: every character is as likely */
            s->data[s->len++] = (uint8_t)alphabet[byte % 62];
    }
    return 0;
}

void process_harden(void)
{
    const struct rlimit none = {0, 0};

    if (setrlimit(RLIMIT_CORE, &none) || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
        abort();
}

void process_allow_locking(void)
{
    (void)setrlimit(RLIMIT_MEMLOCK, &(struct rlimit){RLIM_INFINITY, RLIM_INFINITY}); /* who may not keeps the limit it has */
}

bool process_lock_memory(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_MEMLOCK, &limit) || limit.rlim_max < LOCKING_MIN)
        return false;
    limit.rlim_cur = limit.rlim_max;
    return !setrlimit(RLIMIT_MEMLOCK, &limit) && !mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT); /* what is never touched costs nothing */
}

void process_tie_to_parent(int expected_parent)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0))
        abort();
    if (expected_parent && getppid() != expected_parent)
        _exit(0);
}
