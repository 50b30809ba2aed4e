/* The core's host: its sockets, clock, random source and disk. */
#ifndef KMS_CORE_HOST_H
#define KMS_CORE_HOST_H

#include "base/stream.h"
#include "kmsd/core/io/disk.h"
#include "kmsd/core/io/snapshots.h"

#define HOST_CHILDREN_MAX 24

struct host_child {
    bool used;
    enum child_role role;
    unsigned index;
    uint64_t pid;
    struct stream stream;
    bool want_out;
};
struct host {
    struct core *core;
    struct disk *disk;
    struct snapshots *snapshots;
    int snapshot_fd;
    const char *audit_dir;
    struct stream control;             /* to the supervisor */
    struct host_child child[HOST_CHILDREN_MAX];
    int epoll, disk_fd, timer_fd;
    uint8_t random[256];               /* the first random_left of them were not given out yet */
    size_t random_left;
    bool ready;                        /* what the supervisor was told last */
    char lacks[160];
};

/* Fills the effects for core_new. */
struct core_io host_io(struct host *h);
/* Runs until the core has finished (0), or cannot go on (-1). */
int host_run(struct host *h, struct err *e) __attribute__((warn_unused_result));
int host_init(struct host *h, int control_fd, struct err *e) __attribute__((warn_unused_result));

#endif
