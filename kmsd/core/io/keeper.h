/* Keeps the anchor's file behind the synced log: at most one writing a second while records come, and one at the end. Belongs to the disk thread. */
#ifndef KMS_CORE_KEEPER_H
#define KMS_CORE_KEEPER_H

#include <limits.h>

#include "audit/anchorfile.h"

#define KEEPER_TEXT 160

struct keeper {
    char path[PATH_MAX];
    struct anchor anchor;              /* the last one written or read */
    char next_hash[SHA256_HEX];        /* of the last synced record */
    uint64_t next_seq;
    bool dirty;                        /* the file is behind the log */
    int64_t due;                       /* CLOCK_BOOTTIME of the next writing, while dirty */
    char problem[KEEPER_TEXT];         /* why the file is behind, "" = it is not */
};

/* anchor: what the file says now, which was compared with the log. */
void keeper_init(struct keeper *k, const char *path, const struct anchor *anchor);
/* Whole lines, from record first_seq on, are durable. */
void keeper_synced(struct keeper *k, uint64_t first_seq, struct span lines, int64_t boot_us);
/* Writes when it is time, or, with last set, whatever is left to write. A failure is logged once and tried again a second later. */
void keeper_write(struct keeper *k, bool last);

#endif
