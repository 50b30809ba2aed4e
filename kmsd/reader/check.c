/* Is what lies there the index that this program made, whole? */
#include "kmsd/reader/store.h"

/* The one number that a statement gives, for so many blocks. */
static int number(struct index *x, const char *sql, int64_t blocks, int64_t *out, struct err *e)
{
    sqlite3_stmt *q = NULL;
    int rc = sqlite3_prepare_v2(x->db, sql, -1, &q, NULL);

    for (int n = 1; n <= sqlite3_bind_parameter_count(q) && !rc; n++)
        rc = sqlite3_bind_int64(q, n, n == 1 ? blocks : BLOCK_RECORDS);
    if (!rc)
        rc = sqlite3_step(q);
    *out = rc == SQLITE_ROW ? sqlite3_column_int64(q, 0) : 0;
    if (rc == SQLITE_DONE)
        rc = SQLITE_CORRUPT;
    sqlite3_finalize(q);
    return store_result(x, rc, e);
}

/* Exactly the tables that we make, written as we write them. */
int store_check_form(struct index *x, struct err *e)
{
    BUF_AUTO have = BUF_INIT(65536);
    sqlite3_stmt *q = NULL;
    int64_t format, application;
    int rc, result = number(x, "PRAGMA user_version", 0, &format, e);

    if (!result)
        result = number(x, "PRAGMA application_id", 0, &application, e);
    if (result)
        return result;
    if (format != STORE_FORMAT || application != STORE_APPLICATION) {
        err_set(e, ERR_INTERNAL, "the index %s has another form", x->path);
        return INDEX_SPOILT;
    }
    rc = sqlite3_prepare_v2(x->db, "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY rowid", -1, &q, NULL);
    while (!rc && (rc = sqlite3_step(q)) == SQLITE_ROW) {
        buf_put(&have, sqlite3_column_text(q, 0), (size_t)sqlite3_column_bytes(q, 0));
        buf_putc(&have, ';');
        rc = 0;
    }
    sqlite3_finalize(q);
    result = store_result(x, rc, e);
    if (result || (!have.failed && span_eq_str(buf_span(&have), store_tables)))
        return result;
    err_set(e, ERR_INTERNAL, "the index %s has other tables", x->path);
    return INDEX_SPOILT;
}

static int says_ok(struct index *x, const char *check, struct err *e)
{
    sqlite3_stmt *q = NULL;
    int rc = sqlite3_prepare_v2(x->db, check, -1, &q, NULL), result;
    bool well;

    if (!rc)
        rc = sqlite3_step(q);
    well = rc == SQLITE_ROW && span_eq_str(span_of(sqlite3_column_text(q, 0), (size_t)sqlite3_column_bytes(q, 0)), "ok");
    sqlite3_finalize(q);
    result = store_result(x, rc, e);
    if (result || well)
        return result;
    err_set(e, ERR_INTERNAL, "the index %s is damaged", x->path);
    return INDEX_SPOILT;
}

/* The pages are sound and no record or block is missing: half a second for a million of them. Whether each block is what it was is looked at later, one at a time. */
int store_check_content(struct index *x, struct err *e)
{
    static const char whole[] = "SELECT (SELECT coalesce(max(block) + 1, 0) FROM block) = ?1 AND (SELECT count(*) FROM record) = ?1 * ?2"
                                " AND (SELECT coalesce(max(seq) + 1, 0) FROM record) = ?1 * ?2";
    int64_t blocks = 0, right = 0;
    int result = says_ok(x, "PRAGMA quick_check(1)", e);

    if (!result)
        result = number(x, "SELECT count(*) FROM block", 0, &blocks, e);
    if (!result)
        result = number(x, whole, blocks, &right, e);
    if (result || right) {
        x->blocks = (uint64_t)blocks;
        return result;
    }
    err_set(e, ERR_INTERNAL, "the index %s lacks records", x->path);
    return INDEX_SPOILT;
}

static struct span column(sqlite3_stmt *q, int n)
{
    const void *data = sqlite3_column_blob(q, n);

    return span_of(data ? data : "", (size_t)sqlite3_column_bytes(q, n));
}

static int sum_records(struct index *x, uint64_t block, struct sum *sum)
{
    sqlite3_stmt *q = x->statement[GET_RECORDS];
    uint64_t seq = block * BLOCK_RECORDS, end = seq + BLOCK_RECORDS;
    struct entry r;
    int rc = sqlite3_bind_int64(q, 1, (int64_t)seq);

    for (; seq < end && !rc; seq++) {
        rc = store_step(q, seq, &r);
        if (!rc)
            sum_record(sum, &r);
    }
    (void)sqlite3_reset(q);
    return rc;
}

static int sum_postings(struct index *x, uint64_t block, struct sum *sum)
{
    sqlite3_stmt *q = NULL;
    int rc = sqlite3_prepare_v2(x->db, "SELECT field, value, records FROM posting WHERE block = ?1 ORDER BY field, value", -1, &q, NULL);

    if (!rc)
        rc = sqlite3_bind_int64(q, 1, (int64_t)block);
    while (!rc && (rc = sqlite3_step(q)) == SQLITE_ROW) {
        sum_posting(sum, (unsigned)sqlite3_column_int64(q, 0), column(q, 1), column(q, 2));
        rc = SQLITE_OK;
    }
    sqlite3_finalize(q);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int compare_sum(struct index *x, uint64_t block, const struct sum *sum)
{
    sqlite3_stmt *q = NULL;
    int rc = sqlite3_prepare_v2(x->db, "SELECT sum FROM block WHERE block = ?1", -1, &q, NULL);

    if (!rc)
        rc = sqlite3_bind_int64(q, 1, (int64_t)block);
    if (!rc)
        rc = sqlite3_step(q);
    if (rc == SQLITE_ROW)
        rc = span_eq(column(q, 0), span_of(sum->value, SHA256_LEN)) ? SQLITE_OK : SQLITE_CORRUPT;
    sqlite3_finalize(q);
    return rc == SQLITE_DONE ? SQLITE_CORRUPT : rc;
}

int index_scrub(struct index *x, uint64_t block, struct err *e)
{
    struct sum sum;
    int rc;

    sum_begin(&sum);
    rc = sum_records(x, block, &sum);
    if (!rc)
        rc = sum_postings(x, block, &sum);
    if (sum_end(&sum) && !rc)
        rc = SQLITE_NOMEM;
    if (!rc)
        rc = compare_sum(x, block, &sum);
    if (rc == SQLITE_CORRUPT) {
        err_set(e, ERR_INTERNAL, "the index %s is damaged in block %llu", x->path, (unsigned long long)block);
        return INDEX_SPOILT;
    }
    return store_result(x, rc, e);
}

int index_confirm(struct index *x, uint64_t seq, struct err *e)
{
    return seq / BLOCK_RECORDS < x->blocks ? index_scrub(x, seq / BLOCK_RECORDS, e) : 0;
}
