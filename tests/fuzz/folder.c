#include "tests/fuzz/folder.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

char folder[32];
static unsigned wiped;

void require(bool holds)
{
    if (!holds)
        abort();
}

static int wipe_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    if (at->level) {
        require(!remove(path));
        wiped++;
    }
    return 0;
}

unsigned folder_wipe(void)
{
    wiped = 0;
    require(!nftw(folder, wipe_one, 8, FTW_DEPTH | FTW_PHYS));
    return wiped;
}

static void remove_all(void)
{
    (void)folder_wipe();
    (void)rmdir(folder);
}

void folder_make(void)
{
    (void)snprintf(folder, sizeof folder, "%s/kms-fuzz.XXXXXX", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
    require(mkdtemp(folder) && !atexit(remove_all));
}

const char *folder_path(const char *name)
{
    static char path[256];

    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}
