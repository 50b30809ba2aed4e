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
    struct core_room room;         /* behind the last group; under the lock, as the next line */
    bool pending, stop, failed, done;
    struct err err;                /* of the first failure; under the lock */
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

static void tell(struct disk *d)
{
    if (eventfd_write(d->done_fd, 1))
        abort();
}

/* Others use the disk too. Called and left with the lock held. */
static void look_for_room(struct disk *d)
{
    struct core_room room = d->room;
    struct err e = {0};
    bool failed;

    if (d->failed)
        return;
    pthread_mutex_unlock(&d->lock);
    failed = take_room(d, &room, &e) != 0;
    pthread_mutex_lock(&d->lock);
    if (!failed && room.lines == d->room.lines && room.blobs == d->room.blobs)
        return;
    d->room = room;
    d->failed = failed;
    d->err = e;
    tell(d);
}

/* The anchor is written when nobody waits for the log, and never before the log it names is durable. Called and left with the lock held. */
static void keep_anchor(struct disk *d, bool last)
{
    pthread_mutex_unlock(&d->lock);
    keeper_write(&d->keeper, last);
    pthread_mutex_lock(&d->lock);
    memcpy(d->problem, d->keeper.problem, sizeof d->problem);
}

/* Until a group comes, or the anchor is due. */
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

static void *run(void *arg)
{
    struct disk *d = arg;
    struct core_room room = {0};
    struct err e = {0};
    bool failed;

    pthread_mutex_lock(&d->lock);
    while (!d->stop) {
        if (!d->pending) {
            wait_for_work(d);
            if (d->pending || d->stop)
                continue;
            look_for_room(d);
            keep_anchor(d, false);
            continue;
        }
        pthread_mutex_unlock(&d->lock);
        failed = d->failed || write_group(d, &e) || take_room(d, &room, &e);
        if (!failed)
            keeper_synced(&d->keeper, d->group.first_seq, buf_span(d->group.lines), clock_boot_us());
        pthread_mutex_lock(&d->lock);
        d->pending = false;
        d->done = true;
        if (failed && !d->failed)
            d->err = e;
        d->failed = failed;
        d->room = room;
        tell(d);
        keep_anchor(d, false);
    }
    keep_anchor(d, true);
    pthread_mutex_unlock(&d->lock);
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
    if (take_room(d, &d->room, e)) {
        free(d);
        return NULL;
    }
    if (d->done_fd < 0 || pthread_create(&d->thread, NULL, run, d)) {
        err_set(e, ERR_INTERNAL, "the disk thread does not start");
        free(d);
        return NULL;
    }
    *done_fd = d->done_fd;
    return d;
}

void disk_submit(struct disk *d, const struct core_group *group)
{
    pthread_mutex_lock(&d->lock);
    d->group = *group;
    d->pending = true;
    pthread_cond_signal(&d->wake);
    pthread_mutex_unlock(&d->lock);
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
    pthread_cond_signal(&d->wake);
    pthread_mutex_unlock(&d->lock);
    pthread_join(d->thread, NULL);
    logdir_close(&d->log);
    close(d->done_fd);
    free(d);
}
