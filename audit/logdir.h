/* The log directory: reading every segment at start, setting a torn tail aside, and appending groups. */
#ifndef KMS_AUDIT_LOGDIR_H
#define KMS_AUDIT_LOGDIR_H

#include <limits.h>
#include <sys/types.h>

#include "audit/anchor.h"
#include "audit/logsegments.h"
#include "audit/record.h"

#define SEGMENT_BYTES_MAX (64u << 20) /* a new segment begins with the group after this */
#define LOG_RESERVE (8u << 20)        /* bytes kept allocated behind the end of the open segment */
#define TORN_BYTES_MAX (1u << 20)     /* longer tails are not a crash: refuse */

struct logdir {
    char dir[PATH_MAX];
    int dir_fd, fd;                   /* the open segment, -1 = none yet */
    off_t size;                       /* acknowledged bytes of the open segment */
    off_t reserved;                   /* it has blocks up to here */
    char name[32];                    /* of the open segment */
    dev_t device;
    ino_t inode;
};

/* Called with each record in order; -1 stops the reading with e. */
struct log_reader {
    int (*each)(void *ctx, const json_t *record, struct span line, struct err *e);
    void *ctx;
    const struct anchor *anchor;      /* what the log must still hold, NULL = nothing */
    bool look_only;                   /* a torn tail is described and left where it is */
};

/* A place between two records. */
struct log_place {
    char segment[SEGMENT_NAME + 1]; /* where the record before it stands */
    size_t offset;
    uint64_t next;                  /* seq of the record behind it */
    char prev[SHA256_HEX];          /* hash of the record before it */
};

/* Opens the directory, reads all segments from the first record, and leaves the last one open for appending. A torn tail of at most TORN_BYTES_MAX in the last segment
 * is copied aside and cut; *recovered is then the detail of log.recovered (caller owns), else NULL. A log that does not hold what the anchor names is refused with the
 * reason, and a tail is never cut that would take the anchor's record along. */
int logdir_open(struct logdir *l, const char *dir, const struct log_reader *reader, json_t **recovered, struct err *e) __attribute__((warn_unused_result));
/* The same, but reads from a place (NULL = the first record) on; what lies before is the caller's to judge. */
int logdir_open_at(struct logdir *l, const char *dir, const struct log_place *from, const struct log_reader *reader, json_t **recovered, struct err *e)
    __attribute__((warn_unused_result));
void logdir_close(struct logdir *l);
/* Stores a blob durably under its SHA-256 (no effect when it is there). */
int logdir_blob_write(const struct logdir *l, const char *sha256, struct span data, struct err *e) __attribute__((warn_unused_result));
int logdir_blob_read(const char *dir, const char *sha256, struct buf *out, struct err *e) __attribute__((warn_unused_result));
/* What the disk takes for certain: bytes of lines, and (others may take it away) bytes of blobs. */
struct log_room {
    uint64_t lines, blobs;
};
/* Keeps LOG_RESERVE bytes allocated behind the log, or as much as there is; less than that is no failure. */
int logdir_reserve(struct logdir *l, struct log_room *room, struct err *e) __attribute__((warn_unused_result));
/* Appends whole lines and syncs them. Where there is no space for a new segment the old one goes on. Refuses when the segment is no longer the file that was opened. After a failure the file must be read anew. */
int logdir_append(struct logdir *l, uint64_t first_seq, struct span lines, struct err *e) __attribute__((warn_unused_result));
/* Creates audit/ and audit/blobs/ (0750) where missing. */
int logdir_make(const char *dir, struct err *e) __attribute__((warn_unused_result));
/* A fresh log whose only record is `genesis` (sealed here). ERR_ALREADY_EXISTS when the directory has a segment. */
int logdir_begin(const char *dir, json_t *genesis, int64_t now_us, const char *boot, struct err *e) __attribute__((warn_unused_result));

#endif
