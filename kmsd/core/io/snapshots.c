/* One thread that stores state snapshots. */
#include "kmsd/core/io/snapshots.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "base/fsutil.h"
#include "base/hash.h"

/* Written and synced in slices, with rests in between: a sync of the log that comes in between waits for one of them, and few do. */
#define SLICE (256u << 10)
#define SLICE_HURRY (8u << 20)
#define REST_TIMES 8 /* the time that a slice took */
#define REST_MAX_NS INT64_C(20000000)
#define SPARE (64u << 20) /* space that a snapshot leaves to the log */

struct snapshots {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    char dir[PATH_MAX];
    uint64_t seq, keep;
    struct buf text;
    bool pending, stop, hurry, failed;
    char sha256[SHA256_HEX];
    struct err err;
    int done_fd;
};

static int64_t now_ns(void)
{
    struct timespec t;

    return clock_gettime(CLOCK_MONOTONIC, &t) ? 0 : (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Not once somebody waits for the end. */
static void rest(struct snapshots *w, int64_t began)
{
    int64_t now = now_ns(), ns = REST_TIMES * (now - began), until = now + (ns < REST_MAX_NS ? ns : REST_MAX_NS);
    const struct timespec at = {until / 1000000000, until % 1000000000};

    pthread_mutex_lock(&w->lock);
    while (!w->hurry && !pthread_cond_clockwait(&w->wake, &w->lock, CLOCK_MONOTONIC, &at))
        ;
    pthread_mutex_unlock(&w->lock);
}

/* Bytes to write next; 0 = none, what is written would not be named any more. */
static size_t slice(struct snapshots *w)
{
    size_t n;

    pthread_mutex_lock(&w->lock);
    n = w->stop ? 0 : w->hurry ? SLICE_HURRY : SLICE;
    pthread_mutex_unlock(&w->lock);
    return n;
}

static int write_slices(struct snapshots *w, int fd, struct span text)
{
    while (text.len) {
        int64_t began = now_ns();
        size_t most = slice(w);
        ssize_t n = write(fd, text.data, text.len < most ? text.len : most);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0 || fdatasync(fd))
            return -1;
        text = span_of(text.data + n, text.len - (size_t)n);
        if (text.len)
            rest(w, began);
    }
    return fsync(fd);
}

/* The log needs the space more. */
static int has_room(const char *dir, size_t len, struct err *e)
{
    struct statvfs fs;

    if (statvfs(dir, &fs))
        return err_errno(e, ERR_INTERNAL, errno, "%s", dir);
    return fs.f_bavail * fs.f_frsize >= len + SPARE ? 0 : err_set(e, ERR_INTERNAL, "%s: too little space for a snapshot of %zu bytes", dir, len);
}

/* Under a name that no start looks for, until it is whole and on disk. */
static int store(struct snapshots *w, const char *name, struct span text, struct err *e)
{
    const char *dir = w->dir;
    char path[PATH_MAX], fresh[PATH_MAX];
    int fd;

    if (path_join(path, sizeof path, dir, name) || path_join(fresh, sizeof fresh, dir, "new"))
        return err_set(e, ERR_INTERNAL, "the path %s is too long", dir);
    (void)unlink(fresh);
    fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (fd < 0)
        return err_errno(e, ERR_INTERNAL, errno, "%s", fresh);
    if (write_slices(w, fd, text)) {
        err_errno(e, ERR_INTERNAL, errno, "%s", fresh);
        close(fd);
        (void)unlink(fresh);
        return -1;
    }
    if (close(fd) || rename(fresh, path))
        return err_errno(e, ERR_INTERNAL, errno, "%s", path);
    return dir_sync(dir, e);
}

static bool is_snapshot(const char *name)
{
    return strlen(name) == SNAPSHOT_NAME - 1 && strspn(name, "0123456789") == 20 && !strcmp(name + 20, ".jsonl");
}

/* A failure leaves a file too many: no harm. */
static void prune(const char *dir, const char *newest, const char *keep)
{
    DIR *d = opendir(dir);
    const struct dirent *entry;

    while (d && (entry = readdir(d)))
        if (is_snapshot(entry->d_name) && strcmp(entry->d_name, newest) && strcmp(entry->d_name, keep))
            (void)unlinkat(dirfd(d), entry->d_name, 0);
    if (d)
        closedir(d);
}

static int work(struct snapshots *w)
{
    char name[SNAPSHOT_NAME], keep[SNAPSHOT_NAME];

    snapshot_name(w->seq, name);
    snapshot_name(w->keep, keep);
    sha256_hex(w->text.data, w->text.len, w->sha256);
    if (dir_make(w->dir, 0750, &w->err) || has_room(w->dir, w->text.len, &w->err) || store(w, name, buf_span(&w->text), &w->err))
        return -1;
    prune(w->dir, name, keep);
    return 0;
}

static void *run(void *arg)
{
    struct snapshots *w = arg;

    pthread_mutex_lock(&w->lock);
    while (!w->stop) {
        if (!w->pending) {
            pthread_cond_wait(&w->wake, &w->lock);
            continue;
        }
        pthread_mutex_unlock(&w->lock);
        w->failed = work(w) != 0;
        buf_free(&w->text);
        pthread_mutex_lock(&w->lock);
        w->pending = false;
        if (eventfd_write(w->done_fd, 1))
            abort();
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

struct snapshots *snapshots_start(const char *dir, int *done_fd, struct err *e)
{
    struct snapshots *w = calloc(1, sizeof *w);

    if (!w || strlen(dir) >= sizeof w->dir) {
        free(w);
        err_set(e, ERR_INTERNAL, "out of memory");
        return NULL;
    }
    memcpy(w->dir, dir, strlen(dir) + 1);
    w->done_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->wake, NULL);
    if (w->done_fd < 0 || pthread_create(&w->thread, NULL, run, w)) {
        err_set(e, ERR_INTERNAL, "the snapshot thread does not start");
        if (w->done_fd >= 0)
            close(w->done_fd);
        free(w);
        return NULL;
    }
    *done_fd = w->done_fd;
    return w;
}

void snapshots_submit(struct snapshots *w, uint64_t seq, uint64_t keep, struct buf *text)
{
    pthread_mutex_lock(&w->lock);
    w->seq = seq;
    w->keep = keep;
    w->text = *text;
    *text = (struct buf){0};
    w->pending = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
}

int snapshots_result(struct snapshots *w, char sha256[static SHA256_HEX], struct err *e)
{
    eventfd_t n;

    if (eventfd_read(w->done_fd, &n))
        return err_set(e, ERR_INTERNAL, "the snapshot thread is gone");
    if (w->failed) {
        *e = w->err;
        return -1;
    }
    memcpy(sha256, w->sha256, SHA256_HEX);
    return 0;
}

void snapshots_hurry(struct snapshots *w)
{
    pthread_mutex_lock(&w->lock);
    w->hurry = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
}

void snapshots_stop(struct snapshots *w)
{
    pthread_mutex_lock(&w->lock);
    w->stop = w->hurry = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    buf_free(&w->text);
    close(w->done_fd);
    free(w);
}
