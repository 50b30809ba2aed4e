/* From the log into the index, some records at a time. */
#ifndef KMS_READER_FILL_H
#define KMS_READER_FILL_H

#include "kmsd/reader/index.h"
#include "kmsd/reader/tail.h"

enum { FILL_LOG = -4 };            /* the log is not what it should be; besides INDEX_FAILED, INDEX_SPOILT, INDEX_LATE */
/* At most max records, until that time (CLOCK_BOOTTIME). How many there were, 0 = there are none below head now, or less than 0. */
int fill_some(struct index *x, struct tail *t, uint64_t head, unsigned max, int64_t until, struct err *e) __attribute__((warn_unused_result));

#endif
