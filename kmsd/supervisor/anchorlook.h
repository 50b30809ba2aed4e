/* What the anchor and the log of an instance say about each other, read without changing anything. */
#ifndef KMS_SUPERVISOR_ANCHORLOOK_H
#define KMS_SUPERVISOR_ANCHORLOOK_H

#include "audit/anchorfile.h"
#include "kmsd/settings.h"

struct anchor_look {
    enum anchor_file_state file;
    struct anchor anchor;            /* where file is WHOLE or HALF */
    enum anchor_verdict verdict;     /* likewise */
    char instance[33];
    uint64_t records;                /* of the log; its torn tail, if it has one, is not among them */
    char head[SHA256_HEX];           /* hash of the last one */
    bool torn;
};

/* -1 when one of the two cannot be read at all. */
int anchor_look(const struct settings *s, struct anchor_look *out, struct err *e) __attribute__((warn_unused_result));
/* One word for it, as in the record anchor.reset: "sound", "missing", "unusable", "ahead", "replaced", "foreign". */
const char *anchor_look_word(const struct anchor_look *l);
bool anchor_look_sound(const struct anchor_look *l);

#endif
