/* Runs a search, block by block: the records that have each of the values asked for, met with each other. A page can end behind any block. */
#include <string.h>

#include "base/fsutil.h"
#include "kmsd/reader/breath.h"
#include "kmsd/reader/store.h"

struct finding {
    struct index *x;
    const struct search *s;
    uint64_t low, high;            /* low <= seq < high */
};

static uint64_t recent_begin(const struct index *x)
{
    return x->blocks * BLOCK_RECORDS;
}

/* Wherever it is. */
static int entry(struct index *x, uint64_t seq, struct entry *out)
{
    if (seq < recent_begin(x))
        return store_entry(x, seq, out);
    *out = *block_entry(x->recent, (unsigned)(seq - recent_begin(x)));
    return SQLITE_OK;
}

/* The first record of the index that is not before that time: times never go back along the log. */
static int seek_time(struct index *x, int64_t time, uint64_t *out)
{
    uint64_t low = 0, high = recent_begin(x) + block_count(x->recent);
    struct entry r;
    int rc = SQLITE_OK;

    while (low < high && !(rc = entry(x, low + (high - low) / 2, &r)))
        if (r.time < time)
            low = r.place.seq + 1;
        else
            high = r.place.seq;
    *out = low;
    return rc;
}

static int range(struct finding *f)
{
    const struct search *s = f->s;
    int rc = SQLITE_OK;

    f->low = 0;
    f->high = recent_begin(f->x) + block_count(f->x->recent);
    if (s->since != INT64_MIN)
        rc = seek_time(f->x, s->since, &f->low);
    if (!rc && s->until != INT64_MAX)
        rc = seek_time(f->x, s->until, &f->high);
    if (s->has_after && s->descending)
        f->high = s->after < f->high ? s->after : f->high;
    else if (s->has_after)
        f->low = s->after >= f->low ? s->after + 1 : f->low;
    return rc;
}

/* The records of a block in the file that have that value. */
static int stored(struct index *x, uint64_t block, enum search_field field, struct span text, struct set *out)
{
    sqlite3_stmt *q = x->statement[GET_POSTING];
    int rc = sqlite3_bind_int64(q, 1, (int64_t)block);

    if (!rc)
        rc = sqlite3_bind_int64(q, 2, field);
    if (!rc)
        rc = sqlite3_bind_text(q, 3, (const char *)text.data, (int)text.len, SQLITE_STATIC);
    if (!rc)
        rc = sqlite3_step(q);
    if (rc == SQLITE_ROW)
        rc = set_unpack(out, span_of(sqlite3_column_blob(q, 0), (size_t)sqlite3_column_bytes(q, 0))) ? SQLITE_CORRUPT : SQLITE_OK;
    else if (rc == SQLITE_DONE)
        rc = (set_range(out, 0, 0), SQLITE_OK);
    (void)sqlite3_reset(q);
    return rc;
}

/* The last fields first: fewer records have the same request, digest or version. */
static int matching(const struct finding *f, uint64_t block, struct set *out)
{
    bool any = true;
    int rc = SQLITE_OK;

    for (unsigned n = SEARCH_FIELD_COUNT; n-- > 0 && any && !rc;) {
        struct span text = span_str(f->s->text[n]);
        struct set one;

        if (!text.len)
            continue;
        breath_take();
        if (block < f->x->blocks)
            rc = stored(f->x, block, (enum search_field)n, text, &one);
        else
            block_having(f->x->recent, (enum search_field)n, text, &one);
        any = !rc && set_meet(out, &one);
    }
    return rc;
}

/* The places of a block's records, until the page is full. */
static int take(const struct finding *f, uint64_t block, const struct set *found, struct index_page *page)
{
    bool down = f->s->descending;
    int rc = SQLITE_OK, at = down ? set_before(found, BLOCK_RECORDS) : set_next(found, 0);

    while (at >= 0 && page->n < f->s->limit && !rc) {
        struct entry r;

        breath_take();
        rc = entry(f->x, block * BLOCK_RECORDS + (unsigned)at, &r);
        if (!rc)
            page->place[page->n++] = r.place;
        at = down ? set_before(found, (unsigned)at) : set_next(found, (unsigned)at + 1);
    }
    return rc;
}

/* low <= seq < high, which are all of one block. */
static int walk_block(const struct finding *f, uint64_t low, uint64_t high, struct index_page *page)
{
    uint64_t block = low / BLOCK_RECORDS;
    struct set found;
    int rc;

    set_range(&found, (unsigned)(low % BLOCK_RECORDS), (unsigned)(high - block * BLOCK_RECORDS));
    rc = matching(f, block, &found);
    return rc ? rc : take(f, block, &found, page);
}

/* low < high, and at least one block: a page that went nowhere would be asked for for ever, or pass by the first record. */
static int walk(const struct finding *f, int64_t until, struct index_page *page)
{
    bool down = f->s->descending;
    uint64_t low = f->low, high = f->high;
    int rc = SQLITE_OK;

    do {
        uint64_t begin = (high - 1) / BLOCK_RECORDS * BLOCK_RECORDS, end = (low / BLOCK_RECORDS + 1) * BLOCK_RECORDS;

        if (down) {
            begin = begin > low ? begin : low;
            rc = walk_block(f, begin, high, page);
            high = begin;
        } else {
            end = end < high ? end : high;
            rc = walk_block(f, low, end, page);
            low = end;
        }
    } while (!rc && low < high && page->n < f->s->limit && clock_boot_us() < until);
    if (page->n == f->s->limit) {
        page->upto = page->place[page->n - 1].seq;
        page->more = down ? page->upto > f->low : page->upto + 1 < f->high;
    } else {
        page->upto = down ? high : low ? low - 1 : 0;
        page->more = low < high;
    }
    return rc;
}

int index_find(struct index *x, const struct search *s, int64_t until, struct index_page *page, struct err *e)
{
    struct finding f = {.x = x, .s = s};
    int rc = range(&f);

    page->n = 0;
    page->more = false;
    return store_result(x, rc || f.low >= f.high ? rc : walk(&f, until, page), e);
}
