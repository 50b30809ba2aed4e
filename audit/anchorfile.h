/* The anchor's file: two slots, of which only the older one is ever written, so that a crash leaves the newer one whole. */
#ifndef KMS_AUDIT_ANCHORFILE_H
#define KMS_AUDIT_ANCHORFILE_H

#include "audit/anchor.h"

#define ANCHOR_SLOTS 2
#define ANCHOR_SLOT_DISTANCE 4096    /* a slot a block: writing one never touches the other */

enum anchor_file_state {
    ANCHOR_FILE_WHOLE,
    ANCHOR_FILE_HALF,                /* one slot is damaged, the other serves */
    ANCHOR_FILE_UNUSABLE,            /* the file is there, but no slot is valid */
    ANCHOR_FILE_MISSING
};

/* Reads the file: out is the valid slot with the higher counter (WHOLE, HALF). -1 only when the file cannot be read at all. */
int anchor_file_read(const char *path, struct anchor *out, enum anchor_file_state *state, struct err *e) __attribute__((warn_unused_result));
/* As above, but a missing or unusable anchor is a refusal that says the way out. */
int anchor_file_need(const char *path, struct anchor *out, enum anchor_file_state *state, struct err *e) __attribute__((warn_unused_result));
/* Replaces the whole file by one whose slots both say a: for a new instance and for the way out of a refusal. Makes the directory where it is missing. */
int anchor_file_create(const char *path, const struct anchor *a, struct err *e) __attribute__((warn_unused_result));
/* Writes a into the older slot of an existing file and syncs it. a->counter is filled in here. */
int anchor_file_update(const char *path, struct anchor *a, int64_t now_us, struct err *e) __attribute__((warn_unused_result));

#endif
