/* The segment files of a log, in order, read as one sequence of lines. */
#ifndef KMS_VERIFY_SEGMENTS_H
#define KMS_VERIFY_SEGMENTS_H

#include "audit/verify/line.h"

#define SEGMENT_NAME 26 /* 20 digits, ".jsonl" */

struct segment {
    char name[SEGMENT_NAME + 1];
    uint64_t first;        /* seq by its name */
    uint64_t first_line;   /* index of its first line among all lines; set by whoever walks all of them */
    uint64_t bytes;        /* up to the end of its last line; set likewise */
};

struct segments {
    char dir[4096];
    struct segment *list;
    size_t n;
    /* Entries that are no part of a log: names, for a remark. */
    char stray[8][64];
    size_t n_stray;
};

/* DIR or DIR/audit. ERR_NOT_FOUND when there is no such directory. An empty list is no error. */
int segments_open(struct segments *s, const char *dir, struct err *e) __attribute__((warn_unused_result));
void segments_free(struct segments *s);
/* "dir/name"; -1 when it does not fit. */
int segments_path(const struct segments *s, const char *name, char *out, size_t size) __attribute__((warn_unused_result));

/* Walks lines from a place on, across segments. */
struct walk {
    const struct segments *segments;
    struct line_reader reader;
    size_t at;             /* segment of the line that walk_next gave last */
    bool open;
};
void walk_begin(struct walk *w, const struct segments *s);
int walk_seek(struct walk *w, size_t segment, uint64_t offset, struct err *e) __attribute__((warn_unused_result));
/* 1, 0 = end, -1. */
int walk_next(struct walk *w, struct line *out, struct err *e) __attribute__((warn_unused_result));
void walk_end(struct walk *w);

#endif
