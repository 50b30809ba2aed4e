/* The SQLite file: opened and checked, made anew, asked for a record. */
#include "kmsd/reader/index.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fsutil.h"
#include "kmsd/reader/store.h"

#define WATCH_STEPS 20000          /* of SQLite's machine, from one look at the clock to the next */
#define CACHE_KIB 16384

/* Records by number; and for each block of them, one behind the other, which of its records have a value. All tables grow at their end. */
const char store_tables[] =
    "CREATE TABLE record(seq INTEGER PRIMARY KEY, time INTEGER NOT NULL, segment INTEGER NOT NULL, offset INTEGER NOT NULL, length INTEGER NOT NULL,"
    " hash BLOB NOT NULL);"
    "CREATE TABLE posting(block INTEGER NOT NULL, field INTEGER NOT NULL, value TEXT NOT NULL, records BLOB NOT NULL,"
    " PRIMARY KEY(block, field, value)) WITHOUT ROWID;"
    "CREATE TABLE block(block INTEGER PRIMARY KEY, sum BLOB NOT NULL);";
#define OPEN (SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_EXRESCODE)
static const char CONNECTION[] =
    "PRAGMA locking_mode = EXCLUSIVE; PRAGMA temp_store = MEMORY; PRAGMA synchronous = OFF; PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0";
/* A reader that is killed leaves whole transactions. */
static const char WAL[] = "PRAGMA journal_mode = WAL";
static const char *const STATEMENT[STATEMENTS] = {
    [ADD_RECORD] = "INSERT INTO record(seq, time, segment, offset, length, hash) VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
    [ADD_POSTING] = "INSERT INTO posting(block, field, value, records) VALUES(?1, ?2, ?3, ?4)",
    [ADD_BLOCK] = "INSERT INTO block(block, sum) VALUES(?1, ?2)",
    [GET_RECORDS] = "SELECT seq, time, segment, offset, length, hash FROM record WHERE seq >= ?1 ORDER BY seq",
    [GET_POSTING] = "SELECT records FROM posting WHERE block = ?1 AND field = ?2 AND value = ?3"};

int store_result(const struct index *x, int rc, struct err *e)
{
    int primary = rc & 0xFF;

    if (primary == SQLITE_OK || primary == SQLITE_ROW || primary == SQLITE_DONE)
        return 0;
    err_set(e, ERR_INTERNAL, "the index %s: %s", x->path, x->db && sqlite3_extended_errcode(x->db) == rc ? sqlite3_errmsg(x->db) : sqlite3_errstr(rc));
    switch (primary) {
    case SQLITE_INTERRUPT:
        return INDEX_LATE;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_ERROR: /* a table or column that a statement names is not there */
    case SQLITE_SCHEMA:
    case SQLITE_MISMATCH:
    case SQLITE_CONSTRAINT:
    case SQLITE_FORMAT:
    case SQLITE_TOOBIG: /* a value that is longer than any of ours */
        return INDEX_SPOILT;
    default:
        return INDEX_FAILED;
    }
}

static int on_steps(void *ctx)
{
    struct index *x = ctx;

    return x->watch.go_on && !x->watch.go_on(x->watch.ctx);
}

int store_run(struct index *x, const char *sql, struct err *e)
{
    return store_result(x, sqlite3_exec(x->db, sql, NULL, NULL, NULL), e);
}

void index_close(struct index *x)
{
    if (!x)
        return;
    for (unsigned n = 0; n < STATEMENTS; n++)
        sqlite3_finalize(x->statement[n]);
    (void)sqlite3_close(x->db);
    block_free(x->recent);
    free(x);
}

static struct index *new(const char *path, const struct index_watch *watch, struct err *e)
{
    struct index *x = calloc(1, sizeof *x);

    if (x)
        x->recent = block_new();
    if (!x || !x->recent || path_join(x->path, sizeof x->path, "/", path)) {
        index_close(x);
        err_set(e, ERR_INTERNAL, "no memory for the index");
        return NULL;
    }
    x->watch = *watch;
    return x;
}

/* One connection, which nobody else shares; a text from the file is never run as a statement of ours. */
static int connect(struct index *x, int flags, struct err *e)
{
    struct stat st;
    int result;
    int rc = sqlite3_open_v2(x->path, &x->db, flags | OPEN, NULL);

    if (!rc)
        rc = sqlite3_db_config(x->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    if (rc)
        return store_result(x, rc, e);
    sqlite3_progress_handler(x->db, WATCH_STEPS, on_steps, x);
    result = store_run(x, CONNECTION, e);
    if (result)
        return result;
    sqlite3_limit(x->db, SQLITE_LIMIT_LENGTH, 1 << 20);
    if (!stat(x->path, &st)) {
        x->device = st.st_dev;
        x->inode = st.st_ino;
    }
    return 0;
}

static int cache(struct index *x, struct err *e)
{
    BUF_AUTO sql = BUF_INIT(64);

    buf_printf(&sql, "PRAGMA cache_size = -%d", CACHE_KIB);
    return store_run(x, buf_str(&sql), e);
}

static int prepare(struct index *x, struct err *e)
{
    int rc = SQLITE_OK;

    for (unsigned n = 0; n < STATEMENTS && !rc; n++)
        rc = sqlite3_prepare_v3(x->db, STATEMENT[n], -1, SQLITE_PREPARE_PERSISTENT, &x->statement[n], NULL);
    return store_result(x, rc, e);
}

static int finish(struct index *x, int result, struct index **out, struct err *e)
{
    if (!result)
        result = cache(x, e);
    if (!result)
        result = prepare(x, e);
    if (result)
        index_close(x);
    else
        *out = x;
    return result;
}

int index_open(const char *path, const struct index_watch *watch, struct index **out, struct err *e)
{
    struct index *x = new(path, watch, e);
    int result;

    if (!x)
        return INDEX_FAILED;
    if (!file_exists(path)) {
        err_set(e, ERR_NOT_FOUND, "there is no index %s", path);
        return finish(x, INDEX_SPOILT, out, e);
    }
    result = connect(x, 0, e);
    if (!result)
        result = store_check_form(x, e);
    if (!result)
        result = store_run(x, WAL, e);
    if (!result)
        result = store_check_content(x, e);
    return finish(x, result, out, e);
}

static int remove_files(const struct index *x, struct err *e)
{
    static const char *const ends[] = {"", "-wal", "-shm", "-journal"};
    char path[PATH_MAX + 16];

    for (size_t n = 0; n < sizeof ends / sizeof *ends; n++) {
        BUF_AUTO name = BUF_INIT(sizeof path);

        buf_printf(&name, "%s%s", x->path, ends[n]);
        if (unlink(buf_str(&name)) && errno != ENOENT) {
            err_errno(e, ERR_INTERNAL, errno, "%s", buf_str(&name));
            return INDEX_FAILED;
        }
    }
    return 0;
}

int index_create(const char *path, const struct index_watch *watch, struct index **out, struct err *e)
{
    struct index *x = new(path, watch, e);
    BUF_AUTO mark = BUF_INIT(128);
    int result;

    if (!x)
        return INDEX_FAILED;
    result = remove_files(x, e);
    if (!result)
        result = connect(x, SQLITE_OPEN_CREATE, e);
    if (!result)
        result = store_run(x, WAL, e);
    buf_printf(&mark, "PRAGMA application_id = %d; PRAGMA user_version = %d", STORE_APPLICATION, STORE_FORMAT);
    if (!result)
        result = store_run(x, store_tables, e);
    if (!result)
        result = store_run(x, buf_str(&mark), e);
    return finish(x, result, out, e);
}

int store_step(sqlite3_stmt *q, uint64_t seq, struct entry *out)
{
    int rc = sqlite3_step(q);

    if (rc != SQLITE_ROW)
        return rc == SQLITE_DONE ? SQLITE_CORRUPT : rc;
    *out = (struct entry){{.seq = (uint64_t)sqlite3_column_int64(q, 0), .segment = (uint64_t)sqlite3_column_int64(q, 2),
                           .offset = (uint64_t)sqlite3_column_int64(q, 3), .length = (uint32_t)sqlite3_column_int64(q, 4)}, sqlite3_column_int64(q, 1)};
    if (out->place.seq != seq || out->place.length != sqlite3_column_int64(q, 4) || sqlite3_column_bytes(q, 5) != SHA256_LEN)
        return SQLITE_CORRUPT;
    memcpy(out->place.hash, sqlite3_column_blob(q, 5), SHA256_LEN);
    return SQLITE_OK;
}

int store_entry(struct index *x, uint64_t seq, struct entry *out)
{
    sqlite3_stmt *q = x->statement[GET_RECORDS];
    int rc = sqlite3_bind_int64(q, 1, (int64_t)seq);

    if (!rc)
        rc = store_step(q, seq, out);
    (void)sqlite3_reset(q);
    return rc;
}

uint64_t index_blocks(const struct index *x)
{
    return x->blocks;
}

int index_last(struct index *x, struct place *out, struct err *e)
{
    struct entry last;
    int result = x->blocks ? store_result(x, store_entry(x, x->blocks * BLOCK_RECORDS - 1, &last), e) : 0;

    if (result || !x->blocks)
        return result;
    *out = last.place;
    return 1;
}

int index_add(struct index *x, const struct row *row, struct err *e)
{
    if (row->place.seq != x->blocks * BLOCK_RECORDS + block_count(x->recent)) {
        err_set(e, ERR_INTERNAL, "record %llu is not the next one", (unsigned long long)row->place.seq);
        return INDEX_FAILED;
    }
    if (block_add(x->recent, row)) {
        err_set(e, ERR_INTERNAL, "no memory for record %llu", (unsigned long long)row->place.seq);
        return INDEX_FAILED;
    }
    return block_count(x->recent) < BLOCK_RECORDS ? 0 : store_block(x, e);
}

bool index_in_place(const struct index *x)
{
    struct stat st;

    return !stat(x->path, &st) && st.st_dev == x->device && st.st_ino == x->inode;
}
