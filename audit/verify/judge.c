/* Decides which lines are the records of the log, and names the damage: altered, missing, inserted, out of order. */
#include <stdlib.h>
#include <string.h>

#include "audit/verify/chain.h"

#define LOOK_AHEAD 64

static const char ALTERED_LINK[] = "the record after it does not carry its hash";
static const char ALTERED_FIRST[] = "the first record of the log names a record before it";
static const char ALTERED_BYTES[] = "no longer readable as a record";
static const char ALTERED_SEQ[] = "its number is not the one of its place";
static const char ALTERED_JUMP[] = "its number does not follow the one before, though the chain does";
static const char INSERTED_BYTES[] = "they stand between records that follow one another";
static const char INSERTED_COPY[] = "a copy of records that stand before it";
static const char INSERTED_OTHER[] = "the chain goes on without it";
static const char ORDER[] = "their lines stand in another order";

/* Where the judgement stands: the record that comes next, and the hash that it must carry. */
struct judge {
    struct chain *c;
    struct report *r;
    uint64_t next;
    const uint8_t *hash;      /* NULL: not known */
    bool *used;               /* runs that were taken out of turn */
    bool failed;
    uint64_t bad_line, bad_n; /* unreadable lines that wait for an explanation */
};
static const uint8_t ZEROS[SHA256_LEN];

static const uint8_t *last_hash(const struct judge *j, const struct chain_run *run)
{
    return j->c->line[run->line + run->n - 1].hash;
}

static bool fits(const struct judge *j, const struct chain_run *run)
{
    return run->readable && run->seq == j->next && j->hash && !memcmp(run->prev, j->hash, SHA256_LEN);
}

static bool is_last_piece(const struct chain_piece *p, uint64_t seq, uint64_t line)
{
    return p->seq + p->n == seq && p->line + p->n == line;
}

/* Records of the run from `skip` on are the log's. */
static void accept(struct judge *j, const struct chain_run *run, uint64_t skip)
{
    struct chain *c = j->c;
    struct chain_piece p = {.seq = run->seq + skip, .n = run->n - skip, .line = run->line + skip};

    if (c->n_pieces && is_last_piece(&c->piece[c->n_pieces - 1], p.seq, p.line)) {
        c->piece[c->n_pieces - 1].n += p.n;
    } else {
        if (c->n_pieces == c->cap_pieces) {
            size_t cap = c->cap_pieces ? 2 * c->cap_pieces : 16;
            struct chain_piece *more = realloc(c->piece, cap * sizeof *more);

            if (!more) {
                j->failed = true;
                return;
            }
            c->piece = more;
            c->cap_pieces = cap;
        }
        c->piece[c->n_pieces++] = p;
    }
    j->next = run->seq + run->n;
    j->hash = last_hash(j, run);
}

static void inserted_run(struct judge *j, const struct chain_run *run, const char *reason)
{
    report_both(j->r, FINDING_INSERTED, run->seq, run->seq + run->n - 1, run->line, run->line + run->n - 1, reason);
}

static void bad_are_inserted(struct judge *j)
{
    if (j->bad_n)
        report_lines(j->r, FINDING_INSERTED, j->bad_line, j->bad_line + j->bad_n - 1, INSERTED_BYTES);
    j->bad_n = 0;
}

static void link_broken(struct judge *j, const struct chain_run *run)
{
    uint64_t seq = j->next ? j->next - 1 : 0, line;

    if (report_is_altered(j->r, seq))
        return;
    if (!j->next)
        report_both(j->r, FINDING_ALTERED, 0, 0, run->line, run->line, ALTERED_FIRST);
    else if (!chain_line_of(j->c, seq, &line))
        report_both(j->r, FINDING_ALTERED, seq, seq, line, line, ALTERED_LINK);
    else
        report_records(j->r, FINDING_ALTERED, seq, seq, ALTERED_LINK);
}

/* Takes runs out of turn: run `at` waits while the fitting one, `found`, comes first. Then those in between that fit; the rest is foreign. */
static void take_ahead(struct judge *j, size_t at, size_t found)
{
    uint64_t from = j->next;
    bool again = true, late = false;

    accept(j, &j->c->run[found], 0);
    j->used[found] = true;
    while (again) {
        again = false;
        for (size_t i = at; i < found; i++) {
            if (j->used[i] || !fits(j, &j->c->run[i]))
                continue;
            accept(j, &j->c->run[i], 0);
            j->used[i] = again = late = true;
        }
    }
    if (late)
        report_records(j->r, FINDING_ORDER, from, j->next - 1, ORDER);
    for (size_t i = at; i < found; i++) {
        if (j->used[i])
            continue;
        j->used[i] = true;
        if (j->c->run[i].readable)
            inserted_run(j, &j->c->run[i], INSERTED_OTHER);
        else
            report_lines(j->r, FINDING_INSERTED, j->c->run[i].line, j->c->run[i].line + j->c->run[i].n - 1, INSERTED_BYTES);
    }
}

static size_t find_ahead(const struct judge *j, size_t at)
{
    for (size_t i = at + 1; i < j->c->n_runs && i <= at + LOOK_AHEAD; i++)
        if (!j->used[i] && fits(j, &j->c->run[i]))
            return i;
    return 0;
}

/* Does the run begin with records that are there already, word for word? Returns how many. */
static uint64_t copied(const struct judge *j, const struct chain_run *run)
{
    uint64_t n = 0;
    const uint8_t *h;

    while (n < run->n && (h = chain_hash(j->c, run->seq + n)) && !memcmp(h, j->c->line[run->line + n].hash, SHA256_LEN))
        n++;
    return n;
}

/* Drops the records from seq on, which another line claims with more right. */
static void give_up_from(struct judge *j, uint64_t seq)
{
    struct chain *c = j->c;

    while (c->n_pieces) {
        struct chain_piece *p = &c->piece[c->n_pieces - 1];
        uint64_t keep = p->seq < seq ? seq - p->seq : 0;

        if (keep >= p->n)
            return;
        report_both(j->r, FINDING_INSERTED, p->seq + keep, p->seq + p->n - 1, p->line + keep, p->line + p->n - 1, INSERTED_OTHER);
        p->n = keep;
        if (keep)
            return;
        c->n_pieces--;
    }
}

/* A run that claims numbers which are taken. */
static void judge_taken(struct judge *j, const struct chain_run *run)
{
    uint64_t same = copied(j, run), seq = run->seq;
    const uint8_t *before = seq ? chain_hash(j->c, seq - 1) : ZEROS;

    if (same == run->n) {
        inserted_run(j, run, INSERTED_COPY);
    } else if (same && run->seq + same == j->next) {
        report_both(j->r, FINDING_INSERTED, seq, seq + same - 1, run->line, run->line + same - 1, INSERTED_COPY);
        accept(j, run, same);
    } else if (!same && before && !memcmp(before, run->prev, SHA256_LEN) && run->seq + run->n >= j->next) {
        give_up_from(j, seq);
        accept(j, run, 0);
    } else {
        inserted_run(j, run, INSERTED_OTHER);
    }
}

static const struct chain_run *next_readable(const struct judge *j, size_t at)
{
    return at + 1 < j->c->n_runs && j->c->run[at + 1].readable && !j->used[at + 1] ? &j->c->run[at + 1] : NULL;
}

static void judge_gap(struct judge *j, const struct chain_run *run)
{
    if (j->hash && !memcmp(run->prev, j->hash, SHA256_LEN)) {
        report_both(j->r, FINDING_ALTERED, run->seq, run->seq, run->line, run->line, ALTERED_JUMP);
        bad_are_inserted(j);
    } else if (j->bad_n) {
        report_both(j->r, FINDING_ALTERED, j->next, run->seq - 1, j->bad_line, j->bad_line + j->bad_n - 1, ALTERED_BYTES);
        j->bad_n = 0;
    } else {
        report_records(j->r, FINDING_MISSING, j->next, run->seq - 1, "");
    }
    accept(j, run, 0);
}

static void judge_run(struct judge *j, size_t at)
{
    const struct chain_run *run = &j->c->run[at], *after = next_readable(j, at);
    size_t found;

    if (fits(j, run)) {
        bad_are_inserted(j);
        accept(j, run, 0);
        return;
    }
    found = find_ahead(j, at);
    if (found) {
        bad_are_inserted(j);
        take_ahead(j, at, found);
        return;
    }
    if (run->seq == j->next) {
        bad_are_inserted(j);
        if (j->hash)
            link_broken(j, run);
        accept(j, run, 0);
        return;
    }
    if (after && after->seq == j->next + run->n && !j->bad_n) {
        report_both(j->r, FINDING_ALTERED, j->next, j->next + run->n - 1, run->line, run->line + run->n - 1, ALTERED_SEQ);
        j->next += run->n;
        j->hash = NULL;
        return;
    }
    if (run->seq > j->next) {
        judge_gap(j, run);
        return;
    }
    bad_are_inserted(j);
    judge_taken(j, run);
}

static void count(struct chain *c)
{
    c->n_records = 0;
    for (size_t i = 0; i < c->n_pieces; i++)
        c->n_records += c->piece[i].n;
    c->has_records = c->n_records > 0;
    if (c->has_records)
        c->last_seq = c->piece[c->n_pieces - 1].seq + c->piece[c->n_pieces - 1].n - 1;
}

int chain_judge(struct chain *c, struct report *r, struct err *e)
{
    struct judge j = {.c = c, .r = r, .hash = ZEROS, .used = calloc(c->n_runs + 1, sizeof *j.used)};

    if (!j.used)
        return err_set(e, ERR_INTERNAL, "out of memory");
    for (size_t i = 0; i < c->n_runs && !j.failed; i++) {
        if (j.used[i])
            continue;
        if (c->run[i].readable) {
            judge_run(&j, i);
            continue;
        }
        if (!j.bad_n)
            j.bad_line = c->run[i].line;
        j.bad_n = c->run[i].line + c->run[i].n - j.bad_line;
    }
    if (j.bad_n)
        report_both(r, FINDING_ALTERED, j.next, j.next + j.bad_n - 1, j.bad_line, j.bad_line + j.bad_n - 1, ALTERED_BYTES);
    free(j.used);
    count(c);
    return j.failed ? err_set(e, ERR_INTERNAL, "out of memory") : 0;
}
