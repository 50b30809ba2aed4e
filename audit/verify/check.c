/* The second pass: goes through the records of the chain in their order. */
#include "audit/verify/check.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "base/timefmt.h"

#define PAYLOAD_MAX (256u << 10)

static void complain(struct check *c, const struct record *r, enum finding_kind kind, const char *fmt, va_list ap)
{
    char text[REASON_MAX];

    (void)vsnprintf(text, sizeof text, fmt, ap);
    report_both(c->report, kind, r->seq, r->seq, r->line, r->line, text);
}

int check_fail(struct check *c, const struct record *r, enum finding_kind kind, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    if (!r->altered)
        complain(c, r, kind, fmt, ap);
    va_end(ap);
    return -1;
}

int check_lacks(struct check *c, const struct record *r, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    if (c->damaged)
        c->unjudged++;
    else
        complain(c, r, FINDING_INVALID, fmt, ap);
    va_end(ap);
    return -1;
}

/* A statement rests on a record of a moment ago, as a rule; another one is read again. */
int check_time_of(const struct check *c, uint64_t seq, int64_t *out)
{
    struct walk w;
    struct line l;
    struct err e = {0};
    JSON_AUTO *record = NULL;
    uint64_t line;

    if (c->recent[seq % RECENT].seq == seq && c->recent[seq % RECENT].time) {
        *out = c->recent[seq % RECENT].time;
        return 0;
    }
    if (chain_line_of(c->chain, seq, &line))
        return -1;
    walk_begin(&w, c->segments);
    if (!walk_seek(&w, chain_segment_of(c->chain, line), c->chain->line[line].offset, &e) && walk_next(&w, &l, &e) > 0)
        record = json_read_object(l.data, l.len, LINE_MAX_BYTES, &e);
    walk_end(&w);
    return record && !time_parse(text_of(record, "time"), out) ? 0 : -1;
}

/* Its members are not those of a record: altered, unless the first pass said so already. What later records refer to may be in it. */
static void misfit(struct check *c, uint64_t seq, uint64_t line, const char *why)
{
    if (!report_is_altered(c->report, seq))
        report_both(c->report, FINDING_ALTERED, seq, seq, line, line, why);
    c->damaged = true;
}

static void one(struct check *c, const struct line *l, uint64_t seq, uint64_t line)
{
    struct record r = {.seq = seq, .line = line, .altered = report_is_altered(c->report, seq)};
    struct err e = {0};
    JSON_AUTO *json = NULL;
    uint8_t hash[SHA256_LEN];

    sha256(l->data, l->len, hash);
    if (memcmp(hash, c->chain->line[line].hash, sizeof hash)) {
        report_both(c->report, FINDING_ALTERED, seq, seq, line, line, "the file changed while it was being read");
        return;
    }
    json = json_read_canonical(l->data, l->len); /* nearly every line */
    if (!json)
        json = json_read_object(l->data, l->len, LINE_MAX_BYTES, &e);
    if (!json || schema_check(json, &r.event, &r.outcome, &e) || time_parse(text_of(json, "time"), &r.time)) {
        misfit(c, seq, line, e.detail);
        return;
    }
    c->recent[seq % RECENT].seq = seq;
    c->recent[seq % RECENT].time = r.time;
    r.json = json;
    r.detail = json_object_get(json, "detail");
    event_check(c, &r);
}

static int one_piece(struct check *c, const struct chain_piece *p, struct err *e)
{
    struct walk w;
    struct line l;
    int got = 1;

    walk_begin(&w, c->segments);
    if (walk_seek(&w, chain_segment_of(c->chain, p->line), c->chain->line[p->line].offset, e))
        return -1;
    for (uint64_t i = 0; i < p->n && (got = walk_next(&w, &l, e)) > 0; i++)
        one(c, &l, p->seq + i, p->line + i);
    walk_end(&w);
    if (!got)
        return err_set(e, ERR_NOT_FOUND, "the log became shorter while it was being read");
    return got < 0 ? -1 : 0;
}

static void remark_open_intents(struct check *c)
{
    for (const struct key *k = c->state.first_intent; k; k = k->next)
        if (!k->ended)
            report_note(c->report, "record %" PRIu64 ": the creation of key %.64s has no result yet", k->intent_seq, k->name);
}

int check_run(struct check *c, struct err *e)
{
    state_init(&c->state);
    c->payload = BUF_INIT(PAYLOAD_MAX);
    c->damaged = c->report->n > 0;
    c->workers = workers_start(signature_judged, c);
    if (!c->workers)
        return err_set(e, ERR_INTERNAL, "out of memory");
    for (size_t i = 0; i < c->chain->n_pieces; i++)
        if (one_piece(c, &c->chain->piece[i], e))
            return -1;
    workers_finish(c->workers);
    remark_open_intents(c);
    if (c->unjudged)
        report_note(c->report, "%" PRIu64 " records rest on what was altered or is missing and could not be judged", c->unjudged);
    return 0;
}

void check_free(struct check *c)
{
    policy_free(c->policy);
    workers_free(c->workers); /* before the keys they work with */
    state_free(&c->state);
    map_free(&c->blobs, NULL);
    buf_free(&c->payload);
    memset(c, 0, sizeof *c);
}
