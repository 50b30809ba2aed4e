/* The index of the log: a SQLite file that can be thrown away at any time. */
#ifndef KMS_READER_INDEX_H
#define KMS_READER_INDEX_H

#include "kmsd/reader/row.h"

struct index;
/* What a call came to besides 0. */
enum {
    INDEX_FAILED = -1,             /* no space, no right: the same index may work later */
    INDEX_SPOILT = -2,             /* damaged, of another form, or not ours: to be built anew */
    INDEX_LATE = -3                /* the time given was not enough */
};

/* Called every now and then during long calls: false ends them with INDEX_LATE. */
struct index_watch {
    bool (*go_on)(void *ctx);
    void *ctx;
};
/* An existing, complete index, checked as a whole. */
int index_open(const char *path, const struct index_watch *watch, struct index **out, struct err *e) __attribute__((warn_unused_result));
/* An empty one in place of whatever is there; it is filled, then finished. Until then index_open refuses it. */
int index_create(const char *path, const struct index_watch *watch, struct index **out, struct err *e) __attribute__((warn_unused_result));
int index_finish(struct index *x, struct err *e) __attribute__((warn_unused_result));
void index_close(struct index *x);

/* Its last row: 1, or 0 when it has none. */
int index_last(struct index *x, struct place *out, struct err *e) __attribute__((warn_unused_result));
int index_begin(struct index *x, struct err *e) __attribute__((warn_unused_result));
int index_add(struct index *x, const struct row *row, struct err *e) __attribute__((warn_unused_result));
int index_commit(struct index *x, struct err *e) __attribute__((warn_unused_result));

/* Are the records from <= seq < upto in every index of SQLite's, and do their times not go back? */
int index_scrub(struct index *x, uint64_t from, uint64_t upto, struct err *e) __attribute__((warn_unused_result));

/* One page of a search, in order; end is the number of rows. */
struct index_page {
    struct place *place;           /* room for limit */
    unsigned n;
    bool more;                     /* there may be others, behind `upto` */
    uint64_t upto;                 /* the next page's `after` */
};
int index_find(struct index *x, const struct search *s, uint64_t end, struct index_page *page, struct err *e) __attribute__((warn_unused_result));
/* Is this still the file that was opened? */
bool index_in_place(const struct index *x);

#endif
