/* The segments of a log: how their files are called, and which there are. */
#ifndef KMS_AUDIT_LOGSEGMENTS_H
#define KMS_AUDIT_LOGSEGMENTS_H

#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define SEGMENT_NAME 26 /* 20 digits ".jsonl" */

struct log_segments {
    struct dirent **entry;            /* in order */
    int n;
};

bool logdir_is_segment(const char *name);
void segment_name(uint64_t first_seq, char out[static SEGMENT_NAME + 1]);
uint64_t segment_first(const char *name); /* of a name that logdir_is_segment takes: seq of its first record */
/* Free with segments_free, which may be called after a failure too. */
int segments_list(const char *dir, struct log_segments *out, struct err *e) __attribute__((warn_unused_result));
void segments_free(struct log_segments *s);
uint64_t segments_bytes(const char *dir); /* of all of them, as far as they can be seen */

#endif
