/* The core as its host sees it: events go in, effects come out through struct core_io. It asks neither clock nor random source, opens no file and no socket. */
#ifndef KMS_CORE_CORE_H
#define KMS_CORE_CORE_H

#include "audit/state/state.h"
#include "base/frame.h"

#define CORE_BLOBS_MAX 16  /* bodies that one group may bring along */
#define SANDBOX_TEXT 32
#define CORE_LANES_MAX 16

struct core;

/* A body to be stored under its SHA-256 before the group that names it. */
struct core_blob {
    char sha256[SHA256_HEX];
    struct buf data;
};
/* One group commit: whole lines, and the blobs they name. Valid until the core hears of its end. */
struct core_group {
    const struct buf *lines;
    uint64_t first_seq;
    const struct core_blob *blobs;
    unsigned n_blobs;
};
/* What the disk takes for certain: bytes of lines that it has allocated, and free bytes for blobs. */
struct core_room {
    uint64_t lines, blobs;
};
enum core_note { CORE_NOTE_INFO, CORE_NOTE_WARNING, CORE_NOTE_ALARM };
struct core_io {
    void *ctx;
    /* Queues a whole frame for a child; dropped when that child is gone. */
    void (*send)(void *ctx, enum child_role role, unsigned index, const struct buf *frame);
    void (*random)(void *ctx, void *out, size_t len);
    /* Writes and syncs a group; its end comes as core_on_disk. Only one is under way. */
    void (*append)(void *ctx, const struct core_group *group);
    /* Asks for the end of a child that does not answer. */
    void (*kill)(void *ctx, enum child_role role, unsigned index, const char *reason);
    /* A lane has shown that it works. */
    void (*proved)(void *ctx, enum child_role role, unsigned index);
    /* Writes a state snapshot that covers seq records durably, without holding up groups; takes over text. Its end comes as core_on_snapshot; only one is
     * under way. Older ones than it and `keep` may go. NULL = no snapshots are written. */
    void (*snapshot)(void *ctx, uint64_t seq, uint64_t keep, struct buf *text);
    void (*note)(void *ctx, enum core_note level, const char *event, const char *text);
    /* Hash of a record that was in the log at the start; asked once, before anything is signed. -1 = it cannot be read now. */
    int (*record_hash)(void *ctx, uint64_t seq, char out[static SHA256_HEX]);
};
/* What daemon.start records. */
struct core_start {
    char boot[RECORD_BOOT_HEX], boot_id[64], version[32], settings_sha256[SHA256_HEX], module_sha256[SHA256_HEX];
    json_t *programs;        /* name → SHA-256; borrowed */
    unsigned fronts, lanes;  /* how many of each must say HELLO before the core is ready */
    int64_t since_boot_us;   /* CLOCK_BOOTTIME at the moment that core_new takes as now */
    uint64_t snapshot_records; /* from one state snapshot to the next */
    size_t snapshot_piece;     /* bytes of its text made at a time, once a millisecond */
    uint64_t snapshot_seq;     /* records that the snapshot covered which the start used, 0 = none */
    int64_t snapshot_time_us;  /* when it was written */
    uint64_t log_bytes;        /* of all segments at the start */
    char sandbox[SANDBOX_TEXT];  /* what confines the core, "seccomp+landlock7" */
    const struct core_room *room; /* at the start; NULL = without end */
    json_t *recovered;       /* detail of log.recovered, NULL = nothing was; borrowed */
};

/* Takes over the state. The first records (log.recovered, orphan intents, daemon.start) are queued at once, or as soon as there is room. */
struct core *core_new(struct state *state, const struct core_io *io, const struct core_start *start, int64_t now_us, struct err *e);
void core_free(struct core *c);
/* Events. now_us is the wall clock; the core never dates a record before the last one. A frame that does not belong on that pipe is -1: end that child. */
int core_on_frame(struct core *c, enum child_role role, unsigned index, const struct frame *f, int64_t now_us) __attribute__((warn_unused_result));
void core_on_child(struct core *c, enum child_role role, unsigned index, bool up, const char *reason, int64_t now_us);
void core_on_disk(struct core *c, int64_t now_us);
/* What the disk takes behind the last group that core_on_disk told of. */
void core_on_room(struct core *c, const struct core_room *room, int64_t now_us);
/* The snapshot under way is on disk with that SHA-256, or (NULL) could not be written. */
void core_on_snapshot(struct core *c, const char *sha256, int64_t now_us);
void core_on_tick(struct core *c, int64_t now_us);    /* about every 100 ms */
/* Both clocks at one moment, before the events of that moment and ten times a second at least: periods are counted on boot_us (CLOCK_BOOTTIME), and a wall
 * clock that was set shows. */
void core_on_clock(struct core *c, int64_t wall_us, int64_t boot_us);
void core_on_stop(struct core *c, const char *reason, int64_t now_us);
/* End of a turn of the host's loop, at that time of CLOCK_BOOTTIME: hands over the next group if there is one, none is under way, and more of it need not be
 * waited for; goes on with the text of a snapshot. Microseconds until it wants another turn at the latest; -1 = it waits for events only. */
int64_t core_turn(struct core *c, int64_t boot_us);
bool core_ready(const struct core *c);    /* daemon.start is durable, every front said HELLO and every lane works */
/* What keeps an otherwise serving core from being ready and will not pass by itself; NULL = nothing of the kind. */
const char *core_lacks(const struct core *c);
bool core_finished(const struct core *c); /* daemon.stop is durable: the host may leave */
/* Why this log must not be served (the token has seen a longer or another one): words for the operator, NULL = nothing. The core stops by itself then. */
const char *core_refuses(const struct core *c);
/* The host tells why the anchor's file is behind the log, "" = it is not. */
void core_on_anchor(struct core *c, const char *problem);
/* For tests: the fold as of the last appended record. */
const struct state *core_state(const struct core *c);

#endif
