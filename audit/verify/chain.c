/* Reads every line of a log: its form, its members, its hash, and whether it follows the line before. */
#include "audit/verify/chain.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "audit/verify/canon.h"
#include "audit/verify/schema.h"
#include "base/enc.h"
#include "base/num.h"
#include "base/timefmt.h"

#define TAIL_MAX (1u << 20)     /* a crash leaves at most one group behind */

/* What one line says of itself. */
struct claim {
    bool readable;
    uint64_t seq;
    uint8_t prev[SHA256_LEN];
    int64_t time;
};

void chain_init(struct chain *c, struct segments *s)
{
    *c = (struct chain){.segments = s};
}

void chain_free(struct chain *c)
{
    free(c->line);
    free(c->run);
    free(c->piece);
    *c = (struct chain){0};
}

/* What it takes to be a record of some chain at all. */
static bool read_claim(const json_t *record, struct claim *out)
{
    const json_t *seq = json_object_get(record, "seq");
    const char *prev = json_string_value(json_object_get(record, "prev"));
    const char *time = json_string_value(json_object_get(record, "time"));

    if (!json_is_integer(seq) || json_integer_value(seq) < 0 || !prev || hex_decode(prev, strlen(prev), out->prev, sizeof out->prev))
        return false;
    out->seq = (uint64_t)json_integer_value(seq);
    if (!time || time_parse(time, &out->time))
        out->time = 0;
    out->readable = true;
    return true;
}

static bool hex_text(struct span quoted, uint8_t out[static SHA256_LEN])
{
    return quoted.len == 2 * SHA256_LEN + 2 && !hex_decode((const char *)quoted.data + 1, 2 * SHA256_LEN, out, SHA256_LEN);
}

/* The same for a line that is in canonical form, which nearly every one is, in one pass and without a tree. False: look closer. */
static bool scan_claim(const struct line *l, struct claim *out)
{
    struct json_wanted wanted[] = {{.name = "prev"}, {.name = "seq"}, {.name = "time"}};
    const struct span *prev = &wanted[0].text, *seq = &wanted[1].text, *time = &wanted[2].text;
    char text[TIME_TEXT];

    if (!l->ended || l->len > LINE_MAX_BYTES || json_scan_canonical(l->data, l->len, wanted, sizeof wanted / sizeof *wanted))
        return false;
    if (!prev->data || !hex_text(*prev, out->prev) || !seq->data || num_parse_u64((const char *)seq->data, seq->len, 0, JSON_INT_MAX, &out->seq))
        return false;
    if (!time->data || time->len != TIME_TEXT + 1)
        return false;
    memcpy(text, time->data + 1, TIME_TEXT - 1);
    text[TIME_TEXT - 1] = '\0';
    if (time_parse(text, &out->time))
        return false;
    out->readable = true;
    return true;
}

static void judge_form(struct report *r, const struct claim *cl, uint64_t index, const json_t *record, const struct line *l, struct buf *scratch)
{
    struct err e = {0};
    enum event ev;
    enum outcome out;

    if (!l->ended)
        report_both(r, FINDING_ALTERED, cl->seq, cl->seq, index, index, "the line is not ended by LF");
    if (!canon_same(scratch, record, span_of(l->data, l->len)))
        report_both(r, FINDING_ALTERED, cl->seq, cl->seq, index, index, "the line is not in canonical form (RFC 8785)");
    else if (schema_check(record, &ev, &out, &e))
        report_both(r, FINDING_ALTERED, cl->seq, cl->seq, index, index, e.detail);
}

static int add_line(struct chain *c, const struct line *l)
{
    if (c->n_lines == c->cap_lines) {
        uint64_t cap = c->cap_lines ? 2 * c->cap_lines : 1024;
        struct chain_line *more = realloc(c->line, cap * sizeof *more);

        if (!more)
            return -1;
        c->line = more;
        c->cap_lines = cap;
    }
    sha256(l->data, l->len, c->line[c->n_lines].hash);
    c->line[c->n_lines++].offset = l->offset;
    return 0;
}

static bool continues(const struct chain *c, const struct chain_run *last, const struct claim *cl)
{
    if (last->readable != cl->readable)
        return false;
    return !cl->readable || (cl->seq == last->seq + last->n && !memcmp(cl->prev, c->line[last->line + last->n - 1].hash, SHA256_LEN));
}

static int add_run(struct chain *c, const struct claim *cl, uint64_t index, struct report *r)
{
    struct chain_run *last = c->n_runs ? &c->run[c->n_runs - 1] : NULL;

    if (last && continues(c, last, cl)) {
        last->n++;
        if (cl->readable && cl->time < c->last_time)
            report_both(r, FINDING_INVALID, cl->seq, cl->seq, index, index, "its time lies before that of the record before it");
        c->last_time = cl->time;
        return 0;
    }
    if (c->n_runs == c->cap_runs) {
        size_t cap = c->cap_runs ? 2 * c->cap_runs : 64;
        struct chain_run *more = realloc(c->run, cap * sizeof *more);

        if (!more)
            return -1;
        c->run = more;
        c->cap_runs = cap;
    }
    last = &c->run[c->n_runs++];
    *last = (struct chain_run){.readable = cl->readable, .line = index, .n = 1, .seq = cl->seq};
    memcpy(last->prev, cl->prev, SHA256_LEN);
    c->last_time = cl->time;
    return 0;
}

static void judge_segment(struct report *r, const struct segment *s, const struct claim *cl, uint64_t index)
{
    if (cl->readable && cl->seq != s->first)
        report_both(r, FINDING_SEGMENT, cl->seq, cl->seq, index, index, "the segment's name is not the number of its first record");
}

/* The end of the last segment: what a crash may leave there is no line. */
static bool is_tail(const struct chain *c, const struct walk *w, const struct line *l)
{
    return w->at + 1 == c->segments->n && !l->ended && l->size <= TAIL_MAX;
}

static int take_line(struct chain *c, struct walk *w, const struct line *l, struct report *r, struct buf *scratch, struct err *e)
{
    uint64_t index = c->n_lines;
    struct claim cl = {0};
    JSON_AUTO *record = NULL;
    struct err ignored = {0};

    if (is_tail(c, w, l)) {
        c->tail_segment = w->at;
        c->tail_offset = l->offset;
        c->tail_bytes = l->size;
        return 0;
    }
    if (!scan_claim(l, &cl)) {
        cl = (struct claim){0};
        if (l->len <= LINE_MAX_BYTES)
            record = json_read_object(l->data, l->len, LINE_MAX_BYTES, &ignored);
        if (record && read_claim(record, &cl))
            judge_form(r, &cl, index, record, l, scratch);
    }
    if (add_line(c, l) || add_run(c, &cl, index, r))
        return err_set(e, ERR_INTERNAL, "out of memory after %" PRIu64 " lines", index);
    c->segments->list[w->at].bytes = l->offset + l->size;
    if (!l->offset) {
        c->segments->list[w->at].first_line = index;
        judge_segment(r, &c->segments->list[w->at], &cl, index);
    }
    return 0;
}

int chain_read(struct chain *c, struct report *r, struct err *e)
{
    BUF_AUTO scratch = BUF_INIT(4 * LINE_MAX_BYTES);
    struct walk w;
    struct line l;
    int got;

    for (size_t i = 0; i < c->segments->n; i++)
        c->segments->list[i].first_line = UINT64_MAX;
    walk_begin(&w, c->segments);
    while ((got = walk_next(&w, &l, e)) > 0)
        if (take_line(c, &w, &l, r, &scratch, e)) {
            got = -1;
            break;
        }
    walk_end(&w);
    /* An empty segment begins where the next one does. */
    for (size_t i = c->segments->n; i-- > 0;)
        if (c->segments->list[i].first_line == UINT64_MAX)
            c->segments->list[i].first_line = i + 1 < c->segments->n ? c->segments->list[i + 1].first_line : c->n_lines;
    return got;
}

static const struct chain_piece *piece_of(const struct chain *c, uint64_t seq)
{
    size_t low = 0, high = c->n_pieces;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        const struct chain_piece *p = &c->piece[mid];

        if (seq < p->seq)
            high = mid;
        else if (seq >= p->seq + p->n)
            low = mid + 1;
        else
            return p;
    }
    return NULL;
}

int chain_line_of(const struct chain *c, uint64_t seq, uint64_t *line)
{
    const struct chain_piece *p = piece_of(c, seq);

    if (!p)
        return -1;
    *line = p->line + (seq - p->seq);
    return 0;
}

const uint8_t *chain_hash(const struct chain *c, uint64_t seq)
{
    uint64_t line;

    return chain_line_of(c, seq, &line) ? NULL : c->line[line].hash;
}

size_t chain_segment_of(const struct chain *c, uint64_t line)
{
    size_t low = 0, high = c->segments->n;

    while (high - low > 1) {
        size_t mid = low + (high - low) / 2;

        if (c->segments->list[mid].first_line <= line)
            low = mid;
        else
            high = mid;
    }
    return low;
}

int chain_place(const void *chain, uint64_t line, struct place *out)
{
    const struct chain *c = chain;
    size_t at;
    const struct segment *s;
    bool last;

    if (line >= c->n_lines)
        return -1;
    at = chain_segment_of(c, line);
    s = &c->segments->list[at];
    last = line + 1 >= c->n_lines || (at + 1 < c->segments->n && line + 1 >= c->segments->list[at + 1].first_line);
    *out = (struct place){.file = s->name, .line = line - s->first_line + 1, .offset = c->line[line].offset};
    out->end = last ? s->bytes : c->line[line + 1].offset;
    return 0;
}
