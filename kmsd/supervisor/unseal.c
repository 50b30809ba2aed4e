/* `kmsd unseal`: takes the latch away that a refused PIN left behind. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fsutil.h"
#include "kmsd/supervisor/commands.h"
#include "kmsd/supervisor/offline.h"

static const char USAGE[] =
    "usage: kmsd unseal (--settings FILE | --dir DIR)\n"
    "\n"
    "After a token refused its PIN kmsd tries no PIN again, not even after a restart: some tokens lock at the third attempt.\n"
    "Put the right PIN in place first; a running kmsd then makes one attempt at once.\n";

static int fail(const char *detail)
{
    fprintf(stderr, "kmsd unseal: %s\n", detail);
    return 1;
}

/* The account of the tokens can put anything there, and this is often root's terminal: of a file, its beginning, in printable ASCII. What is no file says nothing. */
static void read_latch(const char *path, char *out, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat st;
    ssize_t n = 0;

    if (fd >= 0 && !fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_nlink == 1)
        n = read(fd, out, size - 1);
    if (fd >= 0)
        (void)close(fd);
    out[n > 0 ? n : 0] = '\0';
    out[strcspn(out, "\n")] = '\0';
    for (char *p = out; *p; p++)
        *p = *p >= ' ' && *p <= '~' ? *p : '?';
}

int command_unseal(int argc, char **argv)
{
    char latch[PATH_MAX], said[1024];
    struct settings s;
    struct err e = {0};
    int code = offline_settings(argc, argv, USAGE, &s, &e);

    if (code >= 0)
        return code;
    if (e.code)
        return fail(e.detail);
    if (settings_latch(&s, latch, sizeof latch))
        return fail("the path of tokens.lock is too long");
    if (!file_exists(latch))
        return puts("not sealed: no token refused its PIN"), 0;
    read_latch(latch, said, sizeof said);
    if (unlink(latch)) {
        err_errno(&e, ERR_INTERNAL, errno, "%s", latch);
        return fail(e.detail);
    }
    printf("unsealed%s%s\n", *said ? "; the token had said: " : "", said);
    return 0;
}
