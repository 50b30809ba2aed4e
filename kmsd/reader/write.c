/* Puts a block into the file: one transaction, its rows in the order of the tables, so that all of it is appended to them. */
#include <stdlib.h>

#include "kmsd/reader/breath.h"
#include "kmsd/reader/store.h"

#define WATCH_ROWS 2048            /* from one look at the watch to the next */

static int put(struct index *x, enum statement which, int rc)
{
    breath_take();
    if (!rc)
        rc = sqlite3_step(x->statement[which]);
    (void)sqlite3_reset(x->statement[which]);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static bool look(const struct index *x, unsigned row)
{
    return row % WATCH_ROWS || !x->watch.go_on || x->watch.go_on(x->watch.ctx);
}

static int put_record(struct index *x, const struct entry *r)
{
    sqlite3_stmt *q = x->statement[ADD_RECORD];
    int rc = sqlite3_bind_int64(q, 1, (int64_t)r->place.seq);

    if (!rc)
        rc = sqlite3_bind_int64(q, 2, r->time);
    if (!rc)
        rc = sqlite3_bind_int64(q, 3, (int64_t)r->place.segment);
    if (!rc)
        rc = sqlite3_bind_int64(q, 4, (int64_t)r->place.offset);
    if (!rc)
        rc = sqlite3_bind_int64(q, 5, r->place.length);
    if (!rc)
        rc = sqlite3_bind_blob(q, 6, r->place.hash, SHA256_LEN, SQLITE_STATIC);
    return put(x, ADD_RECORD, rc);
}

static int put_records(struct index *x, struct sum *sum)
{
    int rc = SQLITE_OK;

    for (unsigned n = 0; n < block_count(x->recent) && !rc; n++) {
        const struct entry *r = block_entry(x->recent, n);

        rc = look(x, n) ? put_record(x, r) : SQLITE_INTERRUPT;
        sum_record(sum, r);
    }
    return rc;
}

static int put_posting(struct index *x, const struct posting *p, struct span records)
{
    sqlite3_stmt *q = x->statement[ADD_POSTING];
    int rc = sqlite3_bind_int64(q, 1, (int64_t)x->blocks);

    if (!rc)
        rc = sqlite3_bind_int64(q, 2, p->field);
    if (!rc)
        rc = sqlite3_bind_text(q, 3, (const char *)p->text.data, (int)p->text.len, SQLITE_STATIC);
    if (!rc)
        rc = sqlite3_bind_blob(q, 4, records.data, (int)records.len, SQLITE_STATIC);
    return put(x, ADD_POSTING, rc);
}

static int put_postings(struct index *x, struct sum *sum)
{
    BUF_AUTO records = BUF_INIT(SET_MAP_LEN);
    unsigned n_postings;
    struct posting *list = block_postings(x->recent, &n_postings);
    int rc = list ? SQLITE_OK : SQLITE_NOMEM;

    for (unsigned n = 0; n < n_postings && !rc; n++) {
        buf_clear(&records);
        block_pack(x->recent, &list[n], &records);
        sum_posting(sum, list[n].field, list[n].text, buf_span(&records));
        rc = buf_ok(&records) ? SQLITE_NOMEM : look(x, n) ? put_posting(x, &list[n], buf_span(&records)) : SQLITE_INTERRUPT;
    }
    free(list);
    return rc;
}

static int put_block(struct index *x, const uint8_t sum[static SHA256_LEN])
{
    sqlite3_stmt *q = x->statement[ADD_BLOCK];
    int rc = sqlite3_bind_int64(q, 1, (int64_t)x->blocks);

    return put(x, ADD_BLOCK, rc ? rc : sqlite3_bind_blob(q, 2, sum, SHA256_LEN, SQLITE_STATIC));
}

int store_block(struct index *x, struct err *e)
{
    struct sum sum;
    int rc, result = store_run(x, "BEGIN", e);

    if (result)
        return result;
    sum_begin(&sum);
    rc = put_records(x, &sum);
    if (!rc)
        rc = put_postings(x, &sum);
    if (sum_end(&sum) && !rc)
        rc = SQLITE_NOMEM;
    result = store_result(x, rc ? rc : put_block(x, sum.value), e);
    if (!result)
        result = store_run(x, "COMMIT", e);
    if (result)
        return result;
    x->blocks++;
    block_clear(x->recent);
    return 0;
}
