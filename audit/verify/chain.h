/* The chain of hashes: reads every line of a log once and keeps 40 bytes of each. */
#ifndef KMS_VERIFY_CHAIN_H
#define KMS_VERIFY_CHAIN_H

#include "audit/verify/report.h"
#include "audit/verify/segments.h"
#include "base/hash.h"

struct chain_line {
    uint8_t hash[SHA256_LEN];
    uint64_t offset;            /* in its segment */
};
/* Lines that follow one another as records of one chain, or (readable = false) lines that are no records. */
struct chain_run {
    bool readable;
    uint64_t line, n;           /* index of the first line, number of lines */
    uint64_t seq;               /* of the first record */
    uint8_t prev[SHA256_LEN];   /* of the first record */
};
/* Records that belong to the chain, in its order: a part of a run. */
struct chain_piece {
    uint64_t seq, n, line;
};

struct chain {
    struct segments *segments;
    struct chain_line *line;
    uint64_t n_lines, cap_lines;
    struct chain_run *run;
    size_t n_runs, cap_runs;
    struct chain_piece *piece;
    size_t n_pieces, cap_pieces;
    int64_t last_time;
    uint64_t tail_offset, tail_bytes;   /* bytes behind the last whole line of the last segment; 0 = none */
    size_t tail_segment;
    uint64_t n_records;         /* of the pieces */
    bool has_records;
    uint64_t last_seq;          /* of the last piece */
};

void chain_init(struct chain *c, struct segments *s);
void chain_free(struct chain *c);
/* Reads all lines; form and members of each are judged into the report. -1 when the log cannot be read. */
int chain_read(struct chain *c, struct report *r, struct err *e) __attribute__((warn_unused_result));
/* Says which lines are the log's records, and what is wrong with the others; fills the pieces. -1: out of memory. */
int chain_judge(struct chain *c, struct report *r, struct err *e) __attribute__((warn_unused_result));
/* Hash of a record of the pieces; NULL when it is not there. */
const uint8_t *chain_hash(const struct chain *c, uint64_t seq);
/* Index of its line; -1 when it is not there. */
int chain_line_of(const struct chain *c, uint64_t seq, uint64_t *line) __attribute__((warn_unused_result));
size_t chain_segment_of(const struct chain *c, uint64_t line);
/* For struct places. */
int chain_place(const void *chain, uint64_t line, struct place *out);

#endif
