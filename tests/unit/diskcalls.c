/* Stands between the disk thread and the system: notes what it asks for, holds it up, or refuses it. Linked with --wrap. */
#include "tests/unit/diskcalls.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

struct calls calls;

static pthread_mutex_t trace_lock = PTHREAD_MUTEX_INITIALIZER;
static char trace[CALLS_TRACE];

ssize_t __real_write(int fd, const void *data, size_t len);
ssize_t __wrap_write(int fd, const void *data, size_t len);
int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __real_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to);
int __real_eventfd_write(int fd, eventfd_t n);
int __wrap_eventfd_write(int fd, eventfd_t n);
int __wrap_fallocate(int fd, int mode, off_t from, off_t len);
int __wrap_fstatvfs(int fd, struct statvfs *out);
int __real_pthread_create(pthread_t *t, const pthread_attr_t *attr, void *(*run)(void *), void *arg);
int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *attr, void *(*run)(void *), void *arg);
int __real_pthread_cond_clockwait(pthread_cond_t *cond, pthread_mutex_t *lock, clockid_t clock, const struct timespec *until);
int __wrap_pthread_cond_clockwait(pthread_cond_t *cond, pthread_mutex_t *lock, clockid_t clock, const struct timespec *until);

enum file { OTHER, LOG, BLOB, BLOBS };

static enum file file_of(int fd)
{
    char link[32], path[256];
    ssize_t n;

    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    n = readlink(link, path, sizeof path - 1);
    if (n < 0)
        return OTHER;
    path[n] = '\0';
    if (n > 6 && !strcmp(path + n - 6, ".jsonl"))
        return LOG;
    if (n > 6 && !strcmp(path + n - 6, "/blobs"))
        return BLOBS;
    return strstr(path, "/blobs/") ? BLOB : OTHER;
}

static void note(char what)
{
    size_t n;

    pthread_mutex_lock(&trace_lock);
    n = strlen(trace);
    if (n + 1 < sizeof trace)
        trace[n] = what;
    pthread_mutex_unlock(&trace_lock);
}

static int refuse(int errnum)
{
    errno = errnum;
    return -1;
}

ssize_t __wrap_write(int fd, const void *data, size_t len)
{
    enum file f = file_of(fd);

    if (f == BLOB)
        note('b');
    if (f != LOG)
        return __real_write(fd, data, len);
    note('L');
    if (atomic_exchange(&calls.half, false))
        return __real_write(fd, data, len / 2);
    return calls.write_errno ? refuse(calls.write_errno) : __real_write(fd, data, len);
}

int __wrap_fdatasync(int fd)
{
    if (file_of(fd) != LOG)
        return __real_fdatasync(fd);
    if (calls.held) {
        sem_post(&calls.reached);
        sem_wait(&calls.gate);
    }
    note('S');
    if (calls.sync_errno)
        return refuse(calls.sync_errno);
    return calls.waits == AS_ASKED ? __real_fdatasync(fd) : 0;
}

int __wrap_fsync(int fd)
{
    enum file f = file_of(fd);

    if (f == BLOB || f == BLOBS)
        note(f == BLOB ? 's' : 'd');
    return __real_fsync(fd);
}

int __wrap_rename(const char *from, const char *to)
{
    if (strstr(to, "/blobs/"))
        note('r');
    return __real_rename(from, to);
}

int __wrap_eventfd_write(int fd, eventfd_t n)
{
    note('!');
    return __real_eventfd_write(fd, n);
}

int __wrap_fallocate(int fd, int mode, off_t from, off_t len)
{
    (void)fd;
    (void)mode;
    (void)from;
    (void)len;
    return calls.reserve_errno ? refuse(calls.reserve_errno) : 0;
}

/* The same answer every time: what others do to the file system is not told of here. */
int __wrap_fstatvfs(int fd, struct statvfs *out)
{
    (void)fd;
    if (calls.creeping)
        calls.blocks++;
    *out = (struct statvfs){.f_bavail = calls.blocks, .f_frsize = CALLS_BLOCK};
    return calls.space_errno ? refuse(calls.space_errno) : 0;
}

int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *attr, void *(*run)(void *), void *arg)
{
    return calls.thread_errno ? calls.thread_errno : __real_pthread_create(t, attr, run, arg);
}

int __wrap_pthread_cond_clockwait(pthread_cond_t *cond, pthread_mutex_t *lock, clockid_t clock, const struct timespec *until)
{
    struct timespec t = *until;

    if (calls.waits == PATIENT)
        t.tv_sec += 60;
    if (calls.waits == HASTY && !clock_gettime(clock, &t)) {
        t.tv_nsec += 20000;
        t.tv_sec += t.tv_nsec / 1000000000;
        t.tv_nsec %= 1000000000;
    }
    return __real_pthread_cond_clockwait(cond, lock, clock, &t);
}

void calls_trace(char out[static CALLS_TRACE])
{
    pthread_mutex_lock(&trace_lock);
    memcpy(out, trace, sizeof trace);
    memset(trace, 0, sizeof trace);
    pthread_mutex_unlock(&trace_lock);
}
