/* What the index keeps of a record. */
#ifndef KMS_READER_ROW_H
#define KMS_READER_ROW_H

#include "audit/search.h"
#include "base/hash.h"

/* Where the line of a record stands, and its hash. */
struct place {
    uint64_t seq;
    uint64_t segment;              /* number in the name of its file */
    uint64_t offset;
    uint32_t length;               /* without LF */
    uint8_t hash[SHA256_LEN];
};
/* The texts point into the line. */
struct row {
    struct place place;
    int64_t time;
    struct span prev;
    struct span field[SEARCH_FIELD_COUNT]; /* no data: the record has none, or one that no search can ask for */
};
/* Reads a line of the log; of the place its seq only. */
int row_read(struct span line, struct row *out, struct err *e) __attribute__((warn_unused_result));

#endif
