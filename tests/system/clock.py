"""A wall clock that a test sets: preloaded into the processes of an instance, it adds to CLOCK_REALTIME what a mapped file holds."""
import mmap
import os
import shutil
import struct

from kms import run

SOURCE = r"""
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* Read when the process starts: later its sandbox may forbid that. */
static volatile long long *added;
static int (*real)(clockid_t, struct timespec *);

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("TEST_CLOCK");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *map = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *added, PROT_READ, MAP_SHARED, fd, 0);

    if (fd >= 0)
        close(fd);
    added = map == MAP_FAILED ? NULL : map;
    *(void **)&real = dlsym(RTLD_NEXT, "clock_gettime");
}

int clock_gettime(clockid_t which, struct timespec *t)
{
    int failed;

    if (!real)
        begin();
    failed = real(which, t);
    if (!failed && added && which == CLOCK_REALTIME)
        t->tv_sec += *added;
    return failed;
}

time_t time(time_t *out)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    if (out)
        *out = t.tv_sec;
    return t.tv_sec;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone)
{
    struct timespec t;

    (void)zone;
    clock_gettime(CLOCK_REALTIME, &t);
    *out = (struct timeval){t.tv_sec, t.tv_nsec / 1000};
    return 0;
}
"""


class Clock:
    """environment: for the processes that shall see it. set(): how many seconds their clock is ahead of the real one."""

    def __init__(self, directory):
        source, library, value = (os.path.join(str(directory), name) for name in ("clock.c", "clock.so", "clock.value"))
        with open(source, "w") as f:
            f.write(SOURCE)
        run(shutil.which("gcc"), "-D_GNU_SOURCE", "-O1", "-shared", "-fPIC", "-o", library, source)
        with open(value, "wb") as f:
            f.write(bytes(8))
        with open(value, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), 8)
        self.environment = {"LD_PRELOAD": library, "TEST_CLOCK": value}

    def set(self, seconds):
        self.map[:8] = struct.pack("q", seconds)
