/* The log as the reader sees it: lines in order up to what it was told is on disk, and single lines by their place. */
#ifndef KMS_READER_TAIL_H
#define KMS_READER_TAIL_H

#include <limits.h>

#include "kmsd/reader/row.h"

/* Where the log is read on. */
struct tail {
    const char *dir;
    int fd;                        /* of the segment, -1 = none open */
    uint64_t segment, offset;      /* of the next line */
    uint64_t next;                 /* its seq */
    uint8_t prev[SHA256_LEN];      /* hash of the line before */
    uint64_t bytes;                /* of all lines that were read */
    struct buf in;                 /* bytes of the segment, from offset on, behind `used` */
    size_t used;
    uint64_t sure;                 /* the head when those bytes were read: what is behind it may have been cut off since, and written otherwise */
};
void tail_start(struct tail *t, const char *dir);
/* Goes on behind a record whose line is still there, unchanged; -1 otherwise. */
int tail_resume(struct tail *t, const char *dir, const struct place *last, struct err *e) __attribute__((warn_unused_result));
void tail_end(struct tail *t);
/* The next record, if its seq is below head: 1 (its texts are valid until the next call), 0 = there is none yet, -1 = the log is not what it should be there. */
int tail_next(struct tail *t, uint64_t head, struct row *row, struct err *e) __attribute__((warn_unused_result));

/* A segment that lines are taken from by their places: the one of the place before, which is mostly that of the next too. */
struct segment_file {
    const char *dir;
    int fd; /* -1 = none open */
    uint64_t segment;
};
void segment_file_end(struct segment_file *f);
/* The line at a place, without LF, appended to out; -1 unless it is the very one. */
int place_read(struct segment_file *f, const struct place *p, struct buf *out, struct err *e) __attribute__((warn_unused_result));

#endif
