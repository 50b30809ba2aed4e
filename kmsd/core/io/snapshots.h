/* The snapshot thread: stores one state snapshot at a time, beside the disk thread, so that no group waits for it. */
#ifndef KMS_CORE_SNAPSHOTS_H
#define KMS_CORE_SNAPSHOTS_H

#include "audit/state/snapshot.h"

struct snapshots;
/* done_fd (an eventfd, readable) tells the end of one. */
struct snapshots *snapshots_start(const char *dir, int *done_fd, struct err *e);
/* Takes over the text. Snapshots other than this one and `keep` are deleted once it is there. */
void snapshots_submit(struct snapshots *w, uint64_t seq, uint64_t keep, struct buf *text);
/* After done_fd was readable: 0 with the SHA-256, -1 = it could not be stored. */
int snapshots_result(struct snapshots *w, char sha256[static SHA256_HEX], struct err *e) __attribute__((warn_unused_result));
/* From now on somebody waits for its end: no more rests. */
void snapshots_hurry(struct snapshots *w);
void snapshots_stop(struct snapshots *w);

#endif
