/* What a check found: gathered as ranges, printed once at the end. */
#ifndef KMS_VERIFY_REPORT_H
#define KMS_VERIFY_REPORT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* X(code, word): the kinds of findings. */
#define FINDINGS(X) \
    X(ALTERED, "altered")             /* a line is not what it was */ \
    X(MISSING, "missing")             /* records that are not there */ \
    X(INSERTED, "inserted")           /* lines that are no records of this chain */ \
    X(ORDER, "order")                 /* records that stand in another order */ \
    X(SEGMENT, "segment")             /* a file of the log is not what its name says */ \
    X(INVALID, "invalid")             /* a chained record says what cannot be */ \
    X(SIGNATURE, "signature")         /* a signature does not verify */ \
    X(BLOB_ALTERED, "blob altered") \
    X(BLOB_MISSING, "blob missing")   /* evidence is missing: exit 2 */ \
    X(HEAD, "head")                   /* outside evidence disagrees */ \
    X(UNUSABLE, "unusable")           /* the log cannot be read: exit 2 */
enum finding_kind {
#define X(code, word) FINDING_##code,
    FINDINGS(X)
#undef X
};

#define REASON_MAX 320
#define FINDINGS_MAX 10000            /* more are counted, not kept */
#define NOTES_MAX 256

struct finding {
    enum finding_kind kind;
    bool has_seq, has_line;
    uint64_t seq_first, seq_last;
    uint64_t line_first, line_last;   /* index among all lines of the log */
    char reason[REASON_MAX];
    unsigned long order;
};
struct report {
    struct finding *list;
    size_t n, more;
    bool tampered;                    /* some finding is more than missing evidence */
    char *note[NOTES_MAX];
    size_t n_notes;
};

/* Where lines are: filled by whoever walked the log. */
struct place {
    const char *file;
    uint64_t line;                    /* from 1, in the file */
    uint64_t offset, end;             /* bytes */
};
struct places {
    const void *ctx;
    int (*of)(const void *ctx, uint64_t line, struct place *out);
};

void report_free(struct report *r);
/* A finding about records first to last; it is merged with the one before when it continues it. */
void report_records(struct report *r, enum finding_kind kind, uint64_t first, uint64_t last, const char *reason);
/* The same with lines; and about lines that are no records. */
void report_both(struct report *r, enum finding_kind kind, uint64_t first, uint64_t last, uint64_t line_first, uint64_t line_last,
                 const char *reason);
void report_lines(struct report *r, enum finding_kind kind, uint64_t line_first, uint64_t line_last, const char *reason);
void report_other(struct report *r, enum finding_kind kind, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void report_note(struct report *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Is the record among those found altered? */
bool report_is_altered(const struct report *r, uint64_t seq);
/* Sorts and merges; call before the next two. */
void report_finish(struct report *r);
/* 0 sound, 1 tampered, 2 evidence missing or unusable. */
int report_exit(const struct report *r);

struct report_counts {
    uint64_t records, signatures, requests, blobs, decisions;
    const char *head_hash;            /* of the last record; "" when there is none */
    uint64_t head_seq;
    bool chain_only;
};
void report_print_text(const struct report *r, const struct places *where, const struct report_counts *counts, FILE *out);
void report_print_json(const struct report *r, const struct places *where, const struct report_counts *counts, FILE *out);

#endif
