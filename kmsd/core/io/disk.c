/* One thread that makes groups durable. */
#include "kmsd/core/io/disk.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/fsutil.h"

#define ROOM_EVERY_US 250000  /* how often the disk is asked for more while it gives too little */

struct disk {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct logdir log;
    struct core_group group;
    struct keeper keeper;          /* the thread's own */
    char problem[KEEPER_TEXT];     /* its copy of keeper.problem, under the lock */
    /* Under the lock; room, failed and err are written by the thread alone. */
    struct core_room room;         /* behind the last group */
    bool pending, stop, failed, done;
    struct err err;                /* of the first failure */
    int done_fd;
};

/* The blobs a group names are durable before the group is. */
static int write_group(struct disk *d, struct err *e)
{
    for (unsigned n = 0; n < d->group.n_blobs; n++)
        if (logdir_blob_write(&d->log, d->group.blobs[n].sha256, buf_span(&d->group.blobs[n].data), e))
            return -1;
    return logdir_append(&d->log, d->group.first_seq, buf_span(d->group.lines), e);
}

static int take_room(struct disk *d, struct core_room *room, struct err *e)
{
    struct log_room found;

    if (logdir_reserve(&d->log, &found, e))
        return -1;
    *room = (struct core_room){found.lines, found.blobs};
    return 0;
}

/* What came of a group, or of a look for room. The core is told without the lock, which it takes as soon as it wakes up. */
static void report(struct disk *d, bool group, bool failed, const struct core_room *room, const struct err *e)
{
    pthread_mutex_lock(&d->lock);
    d->pending = d->pending && !group;
    d->done = d->done || group;
    if (failed && !d->failed)
        d->err = *e;
    d->failed = failed;
    d->room = *room;
    pthread_mutex_unlock(&d->lock);
    if (eventfd_write(d->done_fd, 1))
        abort();
}

static void serve_group(struct disk *d)
{
    struct core_room room = d->room;
    struct err e = {0};
    bool failed = d->failed || write_group(d, &e) || take_room(d, &room, &e);

    if (!failed)
        keeper_synced(&d->keeper, d->group.first_seq, buf_span(d->group.lines), clock_boot_us());
    report(d, true, failed, &room, &e);
}

/* Others use the disk too. */
static void look_for_room(struct disk *d)
{
    struct core_room room = d->room;
    struct err e = {0};
    bool failed;

    if (d->failed)
        return;
    failed = take_room(d, &room, &e) != 0;
    if (failed || room.lines != d->room.lines || room.blobs != d->room.blobs)
        report(d, false, failed, &room, &e);
}

/* The anchor is written when nobody waits for the log, and never before the log it names is durable. */
static void keep_anchor(struct disk *d, bool last)
{
    keeper_write(&d->keeper, last);
    pthread_mutex_lock(&d->lock);
    memcpy(d->problem, d->keeper.problem, sizeof d->problem);
    pthread_mutex_unlock(&d->lock);
}

/* Until a group comes, or the anchor is due. Called and left with the lock held. */
static void wait_for_work(struct disk *d)
{
    int64_t left = d->keeper.dirty ? d->keeper.due - clock_boot_us() : ROOM_EVERY_US;
    struct timespec until;

    if (left > ROOM_EVERY_US)
        left = ROOM_EVERY_US;
    if (left <= 0 || clock_gettime(CLOCK_MONOTONIC, &until))
        return;
    until.tv_nsec += left % 1000000 * 1000;
    until.tv_sec += left / 1000000 + until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    (void)pthread_cond_clockwait(&d->wake, &d->lock, CLOCK_MONOTONIC, &until);
}

/* false: it is over. */
static bool next(struct disk *d, bool *group)
{
    bool stop;

    pthread_mutex_lock(&d->lock);
    if (!d->pending && !d->stop)
        wait_for_work(d);
    *group = d->pending;
    stop = d->stop;
    pthread_mutex_unlock(&d->lock);
    return !stop;
}

static void *run(void *arg)
{
    struct disk *d = arg;
    bool group;

    while (next(d, &group)) {
        if (group)
            serve_group(d);
        else
            look_for_room(d);
        keep_anchor(d, false);
    }
    keep_anchor(d, true);
    return NULL;
}

struct disk *disk_start(const struct logdir *log, const struct keeper *keeper, int *done_fd, struct err *e)
{
    struct disk *d = calloc(1, sizeof *d);

    if (!d) {
        err_set(e, ERR_INTERNAL, "out of memory");
        return NULL;
    }
    d->log = *log;
    d->keeper = *keeper;
    d->done_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    pthread_mutex_init(&d->lock, NULL);
    pthread_cond_init(&d->wake, NULL);
    if (!take_room(d, &d->room, e)) {
        if (d->done_fd >= 0 && !pthread_create(&d->thread, NULL, run, d)) {
            *done_fd = d->done_fd;
            return d;
        }
        err_set(e, ERR_INTERNAL, "the disk thread does not start");
    }
    if (d->done_fd >= 0)
        close(d->done_fd);
    free(d);
    return NULL;
}

void disk_submit(struct disk *d, const struct core_group *group)
{
    pthread_mutex_lock(&d->lock);
    d->group = *group;
    d->pending = true;
    pthread_mutex_unlock(&d->lock);
    pthread_cond_signal(&d->wake);
}

int disk_result(struct disk *d, bool *done, struct core_room *room, struct err *e)
{
    eventfd_t n;
    bool failed;

    if (eventfd_read(d->done_fd, &n))
        return err_set(e, ERR_INTERNAL, "the disk thread is gone");
    pthread_mutex_lock(&d->lock);
    failed = d->failed;
    *done = d->done;
    d->done = false;
    *room = d->room;
    if (failed)
        *e = d->err;
    pthread_mutex_unlock(&d->lock);
    return failed ? -1 : 0;
}

void disk_room(struct disk *d, struct core_room *room)
{
    pthread_mutex_lock(&d->lock);
    *room = d->room;
    pthread_mutex_unlock(&d->lock);
}

void disk_anchor_problem(struct disk *d, char out[static KEEPER_TEXT])
{
    pthread_mutex_lock(&d->lock);
    memcpy(out, d->problem, KEEPER_TEXT);
    pthread_mutex_unlock(&d->lock);
}

void disk_stop(struct disk *d)
{
    pthread_mutex_lock(&d->lock);
    d->stop = true;
    pthread_mutex_unlock(&d->lock);
    pthread_cond_signal(&d->wake);
    pthread_join(d->thread, NULL);
    logdir_close(&d->log);
    close(d->done_fd);
    free(d);
}
