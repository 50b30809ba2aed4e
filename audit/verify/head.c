/* Compares a log with heads that were kept elsewhere. */
#include "audit/verify/head.h"

#include <inttypes.h>
#include <string.h>

#include "base/enc.h"
#include "base/num.h"

int head_parse(const char *text, struct head *out)
{
    const char *colon = strchr(text, ':');

    if (!colon || num_parse_u64(text, (size_t)(colon - text), 0, JSON_INT_MAX, &out->seq))
        return -1;
    return hex_decode(colon + 1, strlen(colon + 1), out->hash, sizeof out->hash);
}

static bool check_one(const struct chain *c, const struct head *h, struct report *r)
{
    const uint8_t *actual = chain_hash(c, h->seq);
    uint64_t line;

    if (actual && !memcmp(actual, h->hash, SHA256_LEN))
        return true;
    if (actual && !chain_line_of(c, h->seq, &line))
        report_both(r, FINDING_HEAD, h->seq, h->seq, line, line, "rolled back or forked: the head that was kept elsewhere has another hash");
    else if (!c->has_records)
        report_other(r, FINDING_HEAD, "rolled back: the log holds no record, the head is record %" PRIu64, h->seq);
    else if (h->seq > c->last_seq && c->tail_bytes && h->seq == c->last_seq + 1)
        report_other(r, FINDING_HEAD, "the log ends at record %" PRIu64 ", and record %" PRIu64 " of the head lies in the unfinished tail",
                     c->last_seq, h->seq);
    else if (h->seq > c->last_seq)
        report_other(r, FINDING_HEAD, "rolled back: the log ends at record %" PRIu64 ", before the head, record %" PRIu64, c->last_seq, h->seq);
    else
        report_other(r, FINDING_HEAD, "record %" PRIu64 " of the head is not in the log", h->seq);
    return false;
}

void heads_check(const struct chain *c, const struct head *list, size_t n, struct report *r)
{
    uint64_t newest = 0;
    bool covered = false;

    for (size_t i = 0; i < n; i++)
        if (check_one(c, &list[i], r)) {
            newest = !covered || list[i].seq > newest ? list[i].seq : newest;
            covered = true;
        }
    if (!c->has_records)
        return;
    if (!covered)
        report_note(r, "evidence window: records 0-%" PRIu64 " are covered by no outside evidence; whoever holds host and token could have rewritten "
                       "them. Give --head SEQ:HASH from an answer of the service or a release statement.", c->last_seq);
    else if (newest < c->last_seq)
        report_note(r, "evidence window: records %" PRIu64 "-%" PRIu64 " are behind the newest head and covered by no outside evidence", newest + 1,
                    c->last_seq);
}
