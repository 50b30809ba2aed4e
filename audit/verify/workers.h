/* Verifies signatures in as many threads as there are processors, while the caller goes on with the next records. */
#ifndef KMS_VERIFY_WORKERS_H
#define KMS_VERIFY_WORKERS_H

#include "audit/verify/pubkey.h"

/* One signature, and what the caller wants to know again when it is judged. */
struct work {
    struct pubkey *key;            /* must live until the work is judged */
    struct buf message, signature; /* message: the bytes that were signed, or their digest where the key signs digests */
    uint64_t seq, line;
    bool altered, doubtful;
    const char *name;              /* of the key, for words about it */
    uint64_t version;
    bool good;                     /* the verdict */
};

struct workers;
/* judged is called in the caller's thread only, in the order of workers_add. NULL: out of memory. */
struct workers *workers_start(void (*judged)(void *ctx, const struct work *w), void *ctx);
/* The next one to fill; its buffers are empty. Waits, and works along, while too many are under way. */
struct work *workers_next(struct workers *w);
void workers_add(struct workers *w); /* it is filled */
/* Waits for all that was added and judges it. */
void workers_finish(struct workers *w);
void workers_free(struct workers *w);

#endif
