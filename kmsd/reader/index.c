/* The SQLite file: opened and checked, made anew, filled. */
#include "kmsd/reader/index.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/enc.h"
#include "base/fsutil.h"
#include "kmsd/reader/sql.h"
#include "kmsd/reader/store.h"

#define WATCH_STEPS 20000          /* of SQLite's machine, from one look at the clock to the next */
#define CACHE_KIB 16384

const char store_tables[] =
    "CREATE TABLE word(id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);"
    "CREATE TABLE record(seq INTEGER PRIMARY KEY, time INTEGER NOT NULL, event INTEGER, outcome INTEGER, actor INTEGER, key INTEGER, app INTEGER,"
    " channel INTEGER, version TEXT, name TEXT, digest BLOB, request BLOB, rule INTEGER, segment INTEGER NOT NULL, offset INTEGER NOT NULL,"
    " length INTEGER NOT NULL, hash BLOB NOT NULL);";
#define OPEN (SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_EXRESCODE)
static const char CONNECTION[] =
    "PRAGMA locking_mode = EXCLUSIVE; PRAGMA temp_store = MEMORY; PRAGMA synchronous = OFF; PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0";
static const char ADD[] =
    "INSERT INTO record(seq, time, event, outcome, actor, key, app, channel, version, digest, request, name, rule, segment, offset, length, hash)"
    " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)";
enum { ADD_SEQ = 1, ADD_TIME, ADD_FIELD, ADD_NAME = ADD_FIELD + SEARCH_FIELD_COUNT, ADD_RULE, ADD_SEGMENT, ADD_OFFSET, ADD_LENGTH, ADD_HASH };

int store_result(const struct index *x, int rc, struct err *e)
{
    int primary = rc & 0xFF;

    if (primary == SQLITE_OK || primary == SQLITE_ROW || primary == SQLITE_DONE)
        return 0;
    err_set(e, ERR_INTERNAL, "the index %s: %s", x->path, x->db ? sqlite3_errmsg(x->db) : sqlite3_errstr(rc));
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
        return INDEX_SPOILT;
    default:
        return INDEX_FAILED;
    }
}

static int on_steps(void *ctx)
{
    struct index *x = ctx;

    return (x->stop_at && clock_boot_us() >= x->stop_at) || (x->watch.go_on && !x->watch.go_on(x->watch.ctx));
}

static int run(struct index *x, const char *sql, struct err *e)
{
    return store_result(x, sqlite3_exec(x->db, sql, NULL, NULL, NULL), e);
}

void index_close(struct index *x)
{
    if (!x)
        return;
    sqlite3_finalize(x->add);
    words_end(&x->words);
    (void)sqlite3_close(x->db);
    free(x);
}

static int give_up(struct index *x, int result)
{
    index_close(x);
    return result;
}

static struct index *new(const char *path, const struct index_watch *watch, struct err *e)
{
    struct index *x = calloc(1, sizeof *x);

    if (!x || path_join(x->path, sizeof x->path, "/", path)) {
        free(x);
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
    result = run(x, CONNECTION, e);
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
    return run(x, buf_str(&sql), e);
}

static int prepare(struct index *x, struct err *e)
{
    int rc = sqlite3_prepare_v3(x->db, ADD, -1, SQLITE_PREPARE_PERSISTENT, &x->add, NULL);

    return store_result(x, rc ? rc : words_prepare(&x->words, x->db), e);
}

int index_open(const char *path, const struct index_watch *watch, struct index **out, struct err *e)
{
    struct index *x = new(path, watch, e);
    int result;

    if (!x)
        return INDEX_FAILED;
    if (!file_exists(path)) {
        err_set(e, ERR_NOT_FOUND, "there is no index %s", path);
        return give_up(x, INDEX_SPOILT);
    }
    result = connect(x, 0, e);
    if (!result)
        result = store_check_form(x, e);
    if (!result)
        result = run(x, "PRAGMA journal_mode = WAL", e);
    if (!result)
        result = store_check_content(x, e);
    if (!result)
        result = cache(x, e);
    if (!result)
        result = prepare(x, e);
    if (result)
        return give_up(x, result);
    *out = x;
    return 0;
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
    int result;

    if (!x)
        return INDEX_FAILED;
    result = remove_files(x, e);
    if (!result)
        result = connect(x, SQLITE_OPEN_CREATE, e);
    if (!result)
        result = run(x, "PRAGMA journal_mode = OFF", e);
    if (!result)
        result = cache(x, e);
    if (!result)
        result = run(x, store_tables, e);
    if (!result)
        result = prepare(x, e);
    if (result)
        return give_up(x, result);
    *out = x;
    return 0;
}

/* One CREATE INDEX after the other sorts the rows once, which costs far less than keeping ten trees in order row by row. */
int index_finish(struct index *x, struct err *e)
{
    BUF_AUTO sql = BUF_INIT(16384);
    int result;

    sql_indices(&sql);
    result = run(x, buf_str(&sql), e);
    buf_clear(&sql);
    buf_printf(&sql, "PRAGMA application_id = %d; PRAGMA user_version = %d", STORE_APPLICATION, STORE_FORMAT);
    if (!result)
        result = run(x, buf_str(&sql), e);
    return result ? result : run(x, "PRAGMA journal_mode = WAL", e);
}

bool store_place(sqlite3_stmt *q, struct place *out)
{
    *out = (struct place){.seq = (uint64_t)sqlite3_column_int64(q, 0), .segment = (uint64_t)sqlite3_column_int64(q, 1),
                          .offset = (uint64_t)sqlite3_column_int64(q, 2), .length = (uint32_t)sqlite3_column_int64(q, 3)};
    if (sqlite3_column_bytes(q, 4) != SHA256_LEN)
        return false;
    memcpy(out->hash, sqlite3_column_blob(q, 4), SHA256_LEN);
    return true;
}

int index_last(struct index *x, struct place *out, struct err *e)
{
    sqlite3_stmt *q = NULL;
    int rc = sqlite3_prepare_v2(x->db, "SELECT " SQL_PLACE " FROM record ORDER BY seq DESC LIMIT 1", -1, &q, NULL);

    if (!rc)
        rc = sqlite3_step(q);
    if (rc == SQLITE_ROW && !store_place(q, out))
        rc = SQLITE_CORRUPT;
    sqlite3_finalize(q);
    return rc == SQLITE_ROW ? 1 : store_result(x, rc, e);
}

int index_begin(struct index *x, struct err *e)
{
    return run(x, "BEGIN", e);
}

int index_commit(struct index *x, struct err *e)
{
    return run(x, "COMMIT", e);
}

static int bind_word(struct index *x, int at, const char *text)
{
    int64_t id;
    int rc = *text ? words_id(&x->words, text, true, &id) : SQLITE_OK;

    return rc ? rc : *text ? sqlite3_bind_int64(x->add, at, id) : sqlite3_bind_null(x->add, at);
}

static int bind_hex(sqlite3_stmt *q, int at, const char *text)
{
    uint8_t bytes[SEARCH_TEXT_MAX / 2];
    size_t n = strlen(text) / 2;

    if (!n || n > sizeof bytes || hex_decode(text, strlen(text), bytes, n))
        return sqlite3_bind_null(q, at);
    return sqlite3_bind_blob(q, at, bytes, (int)n, SQLITE_TRANSIENT);
}

static int bind_field(struct index *x, unsigned n, const char *text)
{
    int at = ADD_FIELD + (int)n;

    switch (columns[n].kind) {
    case COLUMN_WORD: return bind_word(x, at, text);
    case COLUMN_HEX: return bind_hex(x->add, at, text);
    case COLUMN_TEXT: break;
    }
    return *text ? sqlite3_bind_text(x->add, at, text, -1, SQLITE_STATIC) : sqlite3_bind_null(x->add, at);
}

static int bind(struct index *x, const struct row *row)
{
    int rc = sqlite3_bind_int64(x->add, ADD_SEQ, (int64_t)row->place.seq);

    if (!rc)
        rc = sqlite3_bind_int64(x->add, ADD_TIME, row->time);
    for (unsigned n = 0; n < SEARCH_FIELD_COUNT && !rc; n++)
        rc = bind_field(x, n, row->field[n]);
    if (!rc)
        rc = *row->name ? sqlite3_bind_text(x->add, ADD_NAME, row->name, -1, SQLITE_STATIC) : sqlite3_bind_null(x->add, ADD_NAME);
    if (!rc)
        rc = bind_word(x, ADD_RULE, row->rule);
    if (!rc)
        rc = sqlite3_bind_int64(x->add, ADD_SEGMENT, (int64_t)row->place.segment);
    if (!rc)
        rc = sqlite3_bind_int64(x->add, ADD_OFFSET, (int64_t)row->place.offset);
    if (!rc)
        rc = sqlite3_bind_int64(x->add, ADD_LENGTH, row->place.length);
    return rc ? rc : sqlite3_bind_blob(x->add, ADD_HASH, row->place.hash, SHA256_LEN, SQLITE_STATIC);
}

int index_add(struct index *x, const struct row *row, struct err *e)
{
    int rc = bind(x, row);

    if (!rc)
        rc = sqlite3_step(x->add);
    (void)sqlite3_reset(x->add);
    return store_result(x, rc, e);
}

bool index_in_place(const struct index *x)
{
    struct stat st;

    return !stat(x->path, &st) && st.st_dev == x->device && st.st_ino == x->inode;
}
