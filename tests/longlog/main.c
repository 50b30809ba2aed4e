/* longlog DIR RECORDS [PRINCIPALS]: makes the log in DIR that many records longer: signatures, withdrawals and refusals that chain and fold (their signatures
 * are random bytes), in a fraction of the time that a service would take. For tests of long logs; no service may run on it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audit/logdir.h"
#include "base/timefmt.h"
#include "tests/longlog/records.h"

#define BATCH 2000

/* The end of the log: nothing is folded here, the start of a service judges it. */
static int last(void *ctx, const json_t *record, struct span line, struct err *e)
{
    struct chain *c = ctx;

    c->next_seq = rec_int(record, "seq") + 1;
    sha256_hex(line.data, line.len, c->prev);
    return time_parse(rec_str(record, "time"), &c->time) ? err_set(e, ERR_INTERNAL, "a record without a time") : 0;
}

static int extend(const char *dir, unsigned long records, unsigned principals, struct err *e)
{
    struct logdir log;
    struct records g;
    const struct log_reader reader = {.each = last, .ctx = &g.chain};
    json_t *recovered = NULL;
    int failed = 0;

    records_init(&g, 1);
    g.pace = 1;
    g.traffic_only = true;
    g.principals = principals;
    if (logdir_open(&log, dir, &reader, &recovered, e))
        return -1;
    g.now = g.chain.time;
    g.rng += g.chain.next_seq;
    g.batch = (unsigned)g.chain.next_seq;
    for (unsigned long left = records; left && !failed; left -= left < BATCH ? left : BATCH) {
        uint64_t first = g.chain.next_seq;

        records_add(&g, left < BATCH ? (unsigned)left : BATCH);
        failed = logdir_append(&log, first, buf_span(&g.lines), e);
        buf_clear(&g.lines);
    }
    if (!failed)
        printf("%llu records\n", (unsigned long long)g.chain.next_seq);
    records_end(&g);
    logdir_close(&log);
    json_decref(recovered);
    return failed;
}

int main(int argc, char **argv)
{
    struct err e = {0};

    if (argc < 3 || argc > 4) {
        fprintf(stderr, "usage: longlog DIR RECORDS [PRINCIPALS]\n");
        return 2;
    }
    json_object_seed(1);
    if (!extend(argv[1], strtoul(argv[2], NULL, 10), argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 2, &e))
        return 0;
    fprintf(stderr, "longlog: %s\n", e.detail);
    return 1;
}
