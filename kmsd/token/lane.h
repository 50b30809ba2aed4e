/* A lane: one token connection that serves frames of the core. */
#ifndef KMS_TOKEN_LANE_H
#define KMS_TOKEN_LANE_H

#include "base/stream.h"
#include "kmsd/sandbox/sandbox.h"
#include "kmsd/token/issue.h"

#define LANE_KEYS_MAX 4096
#define LANE_FD 3
#define LANE_TABLE_AFTER 512 /* verifications with a key: what they would have saved by then is what its table costs */
#define LANE_TABLES_MAX 64   /* 10 MB; further keys do without */

struct lane {
    const struct settings *settings;
    bool admin;
    unsigned index;
    struct token token;
    struct authority authority;   /* administrative lane */
    struct stream stream;
    bool locked;                  /* its memory does not reach the swap space */
    char sandbox[SANDBOX_LEVEL];  /* what confines the process since its start */
    struct key *keys;             /* signing lane: what LOAD accepted */
    size_t n_keys, cap_keys;
    size_t last_key;              /* where the one that was used last is */
    size_t probes;                /* so that each key has its turn */
    struct p256_batch *batch;     /* signing lane; NULL = every signature is judged by itself */
    struct made waiting[P256_BATCH_MAX]; /* signatures that are judged and answered together */
    size_t n_waiting;
    bool table_due;               /* some key may have earned its table */
};

/* Starts the lane on LANE_FD and serves until the core closes it. A lane whose token is away looks for it every 250 ms, each time as a fresh
 * process image (argv again, same process): what a module keeps of a token that went away is gone with it. The exit code of the process. */
int lane_run(const struct settings *s, bool admin, unsigned index, char **argv);

/* Writes the answer to one frame into the stream's buffer, or keeps it waiting for verb_settle. 0 = go on; above 0 = the answer is an ERROR after which the process
 * must end with this exit code; -1 = the frame is none for a lane, nothing was written. */
int verb_serve(struct lane *l, const struct frame *in) __attribute__((warn_unused_result));
/* settle.c: writes the ERROR of one frame. 0 or the exit code that follows from it. */
int verb_failed(struct lane *l, uint8_t type, uint64_t id, const struct fault *f) __attribute__((warn_unused_result));
/* Verifies what waits, writes the answers. 0 or an exit code, as verb_serve. */
int verb_settle(struct lane *l) __attribute__((warn_unused_result));

#endif
