/* The index of the log: a SQLite file of complete blocks, which can be thrown away at any time, and the records behind them in memory. */
#ifndef KMS_READER_INDEX_H
#define KMS_READER_INDEX_H

#include "kmsd/reader/row.h"

struct index;
/* What a call came to besides 0. */
enum {
    INDEX_FAILED = -1,             /* no space, no right: the same index may work later */
    INDEX_SPOILT = -2,             /* damaged, of another form, or not ours: to be built anew */
    INDEX_LATE = -3                /* the watch ended it */
};

/* Called every now and then during long calls: false ends them with INDEX_LATE. */
struct index_watch {
    bool (*go_on)(void *ctx);
    void *ctx;
};
/* An existing index, its pages checked; it goes on behind the last complete block. */
int index_open(const char *path, const struct index_watch *watch, struct index **out, struct err *e) __attribute__((warn_unused_result));
/* An empty one in place of whatever is there. */
int index_create(const char *path, const struct index_watch *watch, struct index **out, struct err *e) __attribute__((warn_unused_result));
void index_close(struct index *x);

uint64_t index_blocks(const struct index *x); /* in the file */
/* The last record in the file: 1, or 0 when it has none. */
int index_last(struct index *x, struct place *out, struct err *e) __attribute__((warn_unused_result));
/* The next record. One that completes a block puts it into the file. */
int index_add(struct index *x, const struct row *row, struct err *e) __attribute__((warn_unused_result));

/* Is that block in the file as it was written? */
int index_scrub(struct index *x, uint64_t block, struct err *e) __attribute__((warn_unused_result));
/* Is what the index has of that record what was written? */
int index_confirm(struct index *x, uint64_t seq, struct err *e) __attribute__((warn_unused_result));

/* One page of a search, in order. */
struct index_page {
    struct place *place;           /* room for limit */
    unsigned n;
    bool more;                     /* there may be others, behind `upto` */
    uint64_t upto;                 /* the next page's `after` */
};
/* No block is begun after that time (CLOCK_BOOTTIME), but for the first. */
int index_find(struct index *x, const struct search *s, int64_t until, struct index_page *page, struct err *e) __attribute__((warn_unused_result));
/* Is this still the file that was opened? */
bool index_in_place(const struct index *x);

#endif
