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
/* Texts point into the record; "" = it has none. */
struct row {
    struct place place;
    int64_t time;
    const char *field[SEARCH_FIELD_COUNT];
    const char *name, *rule;
};
/* The row of a record of the log; place is the caller's to fill. */
int row_of(const json_t *record, struct row *out, struct err *e) __attribute__((warn_unused_result));

#endif
