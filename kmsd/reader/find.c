/* Runs a search: the narrowest index leads, by seq, in steps that a page can end after. */
#include <string.h>

#include "base/enc.h"
#include "base/fsutil.h"
#include "kmsd/reader/sql.h"
#include "kmsd/reader/store.h"

#define COUNT_MAX 20000            /* rows that are counted to see which index is the narrowest */
#define STEP_RECORDS 65536u        /* records that a step looks through where no index is narrow */
#define PAGE_TIME_US INT64_C(500000)  /* a page begins no step after this */
#define STEP_TIME_US INT64_C(2000000) /* a step that takes longer is given up */

struct finding {
    struct index *x;
    const struct search *s;
    unsigned fields;               /* those asked for */
    int64_t word[SEARCH_FIELD_COUNT];
    uint64_t low, high;            /* low <= seq < high */
};

static int bind(const struct finding *f, sqlite3_stmt *q, unsigned fields, uint64_t low, uint64_t high, unsigned limit)
{
    int rc = sqlite3_bind_int64(q, SQL_LOW, (int64_t)low);

    if (!rc)
        rc = sqlite3_bind_int64(q, SQL_HIGH, (int64_t)high);
    for (unsigned n = 0; n < SEARCH_FIELD_COUNT && !rc; n++) {
        const char *text = f->s->text[n];
        uint8_t bytes[SEARCH_TEXT_MAX / 2];
        int at = SQL_FIELD + (int)n;

        if (!(fields & 1u << n))
            continue;
        if (columns[n].kind == COLUMN_WORD)
            rc = sqlite3_bind_int64(q, at, f->word[n]);
        else if (columns[n].kind == COLUMN_TEXT)
            rc = sqlite3_bind_text(q, at, text, -1, SQLITE_STATIC);
        else
            rc = hex_decode(text, strlen(text), bytes, strlen(text) / 2) ? SQLITE_MISUSE
                                                                        : sqlite3_bind_blob(q, at, bytes, (int)strlen(text) / 2, SQLITE_TRANSIENT);
    }
    return rc ? rc : sqlite3_bind_int64(q, SQL_LIMIT, limit);
}

static int count(const struct finding *f, const struct lead *lead, uint64_t low, unsigned *out)
{
    BUF_AUTO sql = BUF_INIT(1024);
    sqlite3_stmt *q = NULL;
    int rc;

    sql_count(lead, &sql);
    rc = sqlite3_prepare_v2(f->x->db, buf_str(&sql), -1, &q, NULL);
    if (!rc)
        rc = bind(f, q, lead->fields, low, f->high, COUNT_MAX);
    if (!rc)
        rc = sqlite3_step(q);
    *out = rc == SQLITE_ROW ? (unsigned)sqlite3_column_int64(q, 0) : 0;
    sqlite3_finalize(q);
    return rc == SQLITE_ROW ? SQLITE_OK : rc;
}

/* The lead with the fewest rows from low on, of those that fit the question. */
static int narrowest(const struct finding *f, uint64_t low, const struct lead **lead, unsigned *rows)
{
    int rc = SQLITE_OK;
    unsigned n_rows;

    *lead = NULL;
    *rows = COUNT_MAX;
    for (unsigned n = 0; n < n_leads && !rc; n++) {
        if ((leads[n].fields & f->fields) != leads[n].fields)
            continue;
        rc = count(f, &leads[n], low, &n_rows);
        if (!rc && (!*lead || n_rows < *rows)) {
            *lead = &leads[n];
            *rows = n_rows;
        }
    }
    return rc;
}

/* Where all have more rows than are counted, the newest records stand for the others. */
static int choose(const struct finding *f, const struct lead **lead, unsigned *rows)
{
    unsigned sample;
    int rc = narrowest(f, f->low, lead, rows);

    if (!rc && *lead && *rows == COUNT_MAX && f->high - f->low > COUNT_MAX)
        rc = narrowest(f, f->high - COUNT_MAX, lead, &sample);
    return rc;
}

/* The first record of the index that is not before that time: times never go back along the log. */
static int seek_time(struct index *x, int64_t time, uint64_t end, uint64_t *out)
{
    sqlite3_stmt *q = NULL;
    uint64_t low = 0, high = end;
    int rc = sqlite3_prepare_v2(x->db, "SELECT time FROM record WHERE seq = ?1", -1, &q, NULL);

    while (!rc && low < high) {
        uint64_t middle = low + (high - low) / 2;

        rc = sqlite3_bind_int64(q, 1, (int64_t)middle);
        if (!rc)
            rc = sqlite3_step(q);
        if (rc != SQLITE_ROW) {
            rc = rc == SQLITE_DONE ? SQLITE_CORRUPT : rc;
            break;
        }
        if (sqlite3_column_int64(q, 0) < time)
            low = middle + 1;
        else
            high = middle;
        rc = sqlite3_reset(q);
    }
    sqlite3_finalize(q);
    *out = low;
    return rc;
}

static int range(struct finding *f, uint64_t end)
{
    const struct search *s = f->s;
    int rc = SQLITE_OK;

    f->low = 0;
    f->high = end;
    if (s->since != INT64_MIN)
        rc = seek_time(f->x, s->since, end, &f->low);
    if (!rc && s->until != INT64_MAX)
        rc = seek_time(f->x, s->until, end, &f->high);
    if (s->has_after && s->descending)
        f->high = s->after < f->high ? s->after : f->high;
    else if (s->has_after)
        f->low = s->after >= f->low ? s->after + 1 : f->low;
    return rc;
}

/* Which words are asked for; none = false: then no record fits. */
static int look_up(struct finding *f, bool *known)
{
    int rc = SQLITE_OK;

    *known = true;
    for (unsigned n = 0; n < SEARCH_FIELD_COUNT && !rc; n++) {
        if (!f->s->text[n][0])
            continue;
        f->fields |= 1u << n;
        if (columns[n].kind != COLUMN_WORD)
            continue;
        rc = words_id(&f->x->words, f->s->text[n], false, &f->word[n]);
        *known = *known && f->word[n];
    }
    return rc;
}

static int step(const struct finding *f, sqlite3_stmt *q, uint64_t low, uint64_t high, struct index_page *page)
{
    int rc = bind(f, q, f->fields, low, high, f->s->limit - page->n);

    while (!rc && (rc = sqlite3_step(q)) == SQLITE_ROW)
        rc = store_place(q, &page->place[page->n++]) ? SQLITE_OK : SQLITE_CORRUPT;
    (void)sqlite3_reset(q);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* Each step covers the records between two numbers; a page ends when it is full, at the end, or after a step when its time is over. */
static int walk(const struct finding *f, sqlite3_stmt *q, uint64_t stride, struct index_page *page)
{
    bool down = f->s->descending;
    uint64_t low = f->low, high = f->high;
    int64_t until = clock_boot_us() + PAGE_TIME_US;
    int rc = SQLITE_OK;

    while (!rc && low < high && page->n < f->s->limit && clock_boot_us() < until) {
        uint64_t n = high - low < stride ? high - low : stride;

        f->x->stop_at = clock_boot_us() + STEP_TIME_US;
        rc = step(f, q, down ? high - n : low, down ? high : low + n, page);
        high -= down ? n : 0;
        low += down ? 0 : n;
    }
    f->x->stop_at = 0;
    if (page->n == f->s->limit && page->n) {
        page->upto = page->place[page->n - 1].seq;
        page->more = down ? page->upto > f->low : page->upto + 1 < f->high;
    } else {
        page->upto = down ? high : low ? low - 1 : 0;
        page->more = low < high;
    }
    return rc;
}

static int find(struct finding *f, uint64_t end, struct index_page *page)
{
    BUF_AUTO sql = BUF_INIT(2048);
    const struct lead *lead;
    sqlite3_stmt *q = NULL;
    bool known;
    unsigned rows;
    int rc = look_up(f, &known);

    if (rc || !known)
        return rc;
    rc = range(f, end);
    if (rc || f->low >= f->high)
        return rc;
    rc = choose(f, &lead, &rows);
    sql_find(lead, f->fields, f->s->descending, &sql);
    if (!rc)
        rc = sqlite3_prepare_v2(f->x->db, buf_str(&sql), -1, &q, NULL);
    if (!rc)
        rc = walk(f, q, lead && rows < COUNT_MAX ? UINT64_MAX : STEP_RECORDS, page);
    sqlite3_finalize(q);
    return rc;
}

int index_find(struct index *x, const struct search *s, uint64_t end, struct index_page *page, struct err *e)
{
    struct finding f = {.x = x, .s = s};

    page->n = 0;
    page->more = false;
    return store_result(x, find(&f, end, page), e);
}
