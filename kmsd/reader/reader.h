/* The process that answers about the past: what its files share. */
#ifndef KMS_READER_READER_H
#define KMS_READER_READER_H

#include "base/stream.h"
#include "kmsd/reader/fill.h"
#include "kmsd/sandbox/sandbox.h"
#include "kmsd/settings.h"

#define READER_BODY_MAX (512u << 10) /* of a page; the core copies it between two signatures */
#define READER_BLOB_MAX (FRAME_MAX - 4096u)

enum work {
    WORK_WAIT,                     /* for the core's first head */
    WORK_OPEN,
    WORK_LOAD,                     /* it is being filled, and lacks too much to be asked */
    WORK_FOLLOW,
    WORK_FAILED,                   /* tried again at retry_at */
    WORK_NONE                      /* no index as long as this process lives, which is until retry_at */
};
struct reader {
    const struct settings *settings;
    struct stream stream;
    char sandbox[SANDBOX_LEVEL];
    enum work work;
    struct index *index;
    struct tail tail;
    uint64_t head;                 /* records that are on disk, as the core said last */
    int64_t grew_at;               /* when it said a larger number */
    int64_t left_us, left_at;      /* processor time that answers may take now before it rests; as of then */
    int64_t answer_at, answer_from; /* when it began to work on an answer; this process's processor time then */
    int64_t rest_until;            /* no frame is looked at before; 0 = none was held up */
    uint64_t scrubbed, scrub_end;  /* blocks of an index that was there before which were looked through, of so many */
    uint64_t told;                 /* records in the index, as the core was told last */
    int64_t told_at, retry_at, pause, rebuilt_at;
    bool spoilt, gone;             /* the index is not to be opened but made anew; the core is gone */
};

/* work.c: the index */
void work_step(struct reader *r);  /* one piece of what is to be done now, a fraction of a second; the check at the start takes longer */
bool work_waits(const struct reader *r); /* is there nothing to do before a frame or retry_at? */
void work_catch_up(struct reader *r, int64_t until); /* follows the log to the head, or until then */
void work_spoilt(struct reader *r, const char *why);
void work_end(struct reader *r);
const char *work_word(const struct reader *r);
/* answer.c: frames of the core. -1: one that does not belong here. */
int answer_frame(struct reader *r, const struct frame *f) __attribute__((warn_unused_result));
/* serve.c */
/* An exit code. no_index: why there can be no index (NULL = there can): then only what stands in the log itself is answered, and after a while it ends. */
int reader_serve(const struct settings *s, const char *no_index);
int64_t reader_processor_us(void);
void reader_tell(struct reader *r, uint64_t id); /* HEAD: where the index stands; id 0 answers one of the core's */
/* rebuild.c */
int reader_rebuild(const struct settings *s); /* an exit code */

#endif
