/* The disk thread: writes and syncs one group at a time, and says when it is durable. */
#ifndef KMS_CORE_DISK_H
#define KMS_CORE_DISK_H

#include "audit/logdir.h"
#include "kmsd/core/io/keeper.h"
#include "kmsd/core/core.h"

struct disk;
/* Takes over the open log and the anchor behind it. done_fd (an eventfd, readable) tells the end of a group, or that there is more or less room. */
struct disk *disk_start(const struct logdir *log, const struct keeper *keeper, int *done_fd, struct err *e);
void disk_submit(struct disk *d, const struct core_group *group);
/* After done_fd was readable: 0 = the group, if one was under way and *done, is durable and *room is what fits behind it, -1 = it is not and this process must end. */
int disk_result(struct disk *d, bool *done, struct core_room *room, struct err *e) __attribute__((warn_unused_result));
/* What the disk takes now. */
void disk_room(struct disk *d, struct core_room *room);
/* Why the anchor is behind the log, "" = it is not. */
void disk_anchor_problem(struct disk *d, char out[static KEEPER_TEXT]);
/* Ends the thread; the anchor then names the last durable record. */
void disk_stop(struct disk *d);

#endif
