/* What the files over SQLite share: the open index. */
#ifndef KMS_READER_STORE_H
#define KMS_READER_STORE_H

#include <limits.h>
#include <sqlite3.h>
#include <sys/types.h>

#include "kmsd/reader/block.h"
#include "kmsd/reader/index.h"

enum statement { ADD_RECORD, ADD_POSTING, ADD_BLOCK, GET_RECORDS, GET_POSTING, STATEMENTS };
struct index {
    char path[PATH_MAX];
    sqlite3 *db;
    sqlite3_stmt *statement[STATEMENTS];
    uint64_t blocks;               /* complete ones, in the file */
    struct block *recent;          /* the records behind them */
    struct index_watch watch;
    dev_t device;
    ino_t inode;
};

/* What SQLite's result code means for the index, with e filled. */
int store_result(const struct index *x, int rc, struct err *e);
int store_run(struct index *x, const char *sql, struct err *e) __attribute__((warn_unused_result));
#define STORE_FORMAT 2                   /* user_version of an index of this form */
#define STORE_APPLICATION 0x6B6D7364     /* "kmsd" */
extern const char store_tables[];
/* What the file has of a record of it: SQLITE_OK, or why not. The next row of GET_RECORDS, which must be of that record. */
int store_step(sqlite3_stmt *q, uint64_t seq, struct entry *out) __attribute__((warn_unused_result));
int store_entry(struct index *x, uint64_t seq, struct entry *out) __attribute__((warn_unused_result));
/* write.c: the recent records, which are a block, into the file, and no longer recent. */
int store_block(struct index *x, struct err *e) __attribute__((warn_unused_result));
/* check.c: exactly the tables that we make; sound pages, and whole blocks. 0 or an INDEX_ code. */
int store_check_form(struct index *x, struct err *e) __attribute__((warn_unused_result));
int store_check_content(struct index *x, struct err *e) __attribute__((warn_unused_result));

/* sum.c: a checksum over what the file holds of a block; found by chance, not made to withstand somebody who writes it anew. */
struct sum {
    uint8_t value[SHA256_LEN];
    struct buf in;
};
void sum_begin(struct sum *s);
void sum_record(struct sum *s, const struct entry *r);
void sum_posting(struct sum *s, unsigned field, struct span text, struct span records);
int sum_end(struct sum *s) __attribute__((warn_unused_result)); /* -1: no memory; value holds it otherwise */

#endif
