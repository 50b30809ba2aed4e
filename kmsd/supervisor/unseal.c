/* `kmsd unseal`: takes the latch away that a refused PIN left behind. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
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

int command_unseal(int argc, char **argv)
{
    char latch[PATH_MAX];
    BUF_AUTO said = BUF_INIT(1024);
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
    if (file_read(latch, &said, &e))
        return fail(e.detail);
    if (unlink(latch)) {
        err_errno(&e, ERR_INTERNAL, errno, "%s", latch);
        return fail(e.detail);
    }
    printf("unsealed; the token had said: %s", buf_str(&said));
    return 0;
}
