/* What the files over SQLite share: the open index. */
#ifndef KMS_READER_STORE_H
#define KMS_READER_STORE_H

#include <limits.h>
#include <sys/types.h>

#include "kmsd/reader/index.h"
#include "kmsd/reader/words.h"

struct index {
    char path[PATH_MAX];
    sqlite3 *db;
    sqlite3_stmt *add;
    struct words words;
    struct index_watch watch;
    int64_t stop_at;               /* end of what runs, by CLOCK_BOOTTIME; 0 = none */
    dev_t device;
    ino_t inode;
};

/* What SQLite's result code means for the index, with e filled. */
int store_result(const struct index *x, int rc, struct err *e);
/* A row of the columns SQL_PLACE; false when they cannot be of a record. */
bool store_place(sqlite3_stmt *q, struct place *out);
#define STORE_FORMAT 1                   /* user_version of a complete index of this form */
#define STORE_APPLICATION 0x6B6D7364     /* "kmsd" */
extern const char store_tables[];
/* check.c: exactly the tables and indices that we make; and what is in them. 0 or an INDEX_ code. */
int store_check_form(struct index *x, struct err *e);
int store_check_content(struct index *x, struct err *e);

#endif
