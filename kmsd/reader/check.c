/* Is what lies there the index that this program made, whole? */
#include "kmsd/reader/sql.h"
#include "kmsd/reader/store.h"

/* The one number that a statement gives. */
static int number(struct index *x, const char *sql, int64_t *out, struct err *e)
{
    sqlite3_stmt *q = NULL;
    int rc = sqlite3_prepare_v2(x->db, sql, -1, &q, NULL);

    if (!rc)
        rc = sqlite3_step(q);
    *out = rc == SQLITE_ROW ? sqlite3_column_int64(q, 0) : 0;
    if (rc == SQLITE_DONE)
        rc = SQLITE_CORRUPT;
    sqlite3_finalize(q);
    return store_result(x, rc, e);
}

/* Exactly the tables and indices that we make, written as we write them. */
int store_check_form(struct index *x, struct err *e)
{
    BUF_AUTO want = BUF_INIT(16384), have = BUF_INIT(65536);
    sqlite3_stmt *q = NULL;
    int64_t format, application;
    int rc, result = number(x, "PRAGMA user_version", &format, e);

    if (!result)
        result = number(x, "PRAGMA application_id", &application, e);
    if (result)
        return result;
    if (format != STORE_FORMAT || application != STORE_APPLICATION) {
        err_set(e, ERR_INTERNAL, "the index %s is not complete, or has another form", x->path);
        return INDEX_SPOILT;
    }
    buf_puts(&want, store_tables);
    sql_indices(&want);
    rc = sqlite3_prepare_v2(x->db, "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY rowid", -1, &q, NULL);
    while (!rc && (rc = sqlite3_step(q)) == SQLITE_ROW) {
        buf_put(&have, sqlite3_column_text(q, 0), (size_t)sqlite3_column_bytes(q, 0));
        buf_putc(&have, ';');
        rc = 0;
    }
    sqlite3_finalize(q);
    result = store_result(x, rc, e);
    if (result || (!have.failed && span_eq(buf_span(&want), buf_span(&have))))
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

/* The pages are sound and no row is missing: half a second for a million rows. Whether each row is in every index of SQLite's is looked
 * at later, bit by bit. */
int store_check_content(struct index *x, struct err *e)
{
    int64_t missing = 0;
    int result = says_ok(x, "PRAGMA quick_check(1)", e);

    if (!result)
        result = says_ok(x, "PRAGMA integrity_check(word)", e);
    if (!result)
        result = number(x, "SELECT coalesce(max(seq) + 1, 0) - (SELECT count(*) FROM record) FROM record", &missing, e);
    if (result || !missing)
        return result;
    err_set(e, ERR_INTERNAL, "the index %s lacks records", x->path);
    return INDEX_SPOILT;
}

int index_scrub(struct index *x, uint64_t from, uint64_t upto, struct err *e)
{
    BUF_AUTO sql = BUF_INIT(16384);
    sqlite3_stmt *q = NULL;
    int rc = SQLITE_OK;

    for (unsigned n = 0; n <= n_leads && !rc; n++) {
        buf_clear(&sql);
        sql_scrub(n < n_leads ? &leads[n] : NULL, &sql);
        rc = sqlite3_prepare_v2(x->db, buf_str(&sql), -1, &q, NULL);
        if (!rc)
            rc = sqlite3_bind_int64(q, SQL_LOW, (int64_t)from);
        if (!rc)
            rc = sqlite3_bind_int64(q, SQL_HIGH, (int64_t)upto);
        if (!rc)
            rc = sqlite3_step(q);
        if (rc == SQLITE_ROW)
            rc = sqlite3_column_int64(q, 0) ? SQLITE_CORRUPT : SQLITE_OK;
        sqlite3_finalize(q);
        q = NULL;
    }
    if (rc == SQLITE_CORRUPT) {
        err_set(e, ERR_INTERNAL, "the index %s is damaged between record %llu and %llu", x->path, (unsigned long long)from, (unsigned long long)upto);
        return INDEX_SPOILT;
    }
    return store_result(x, rc, e);
}
