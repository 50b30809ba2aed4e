/* Puts the statements of a search together. */
#include "kmsd/reader/sql.h"

#define B(field) (1u << SEARCH_##field)

const struct column columns[SEARCH_FIELD_COUNT] = {
    [SEARCH_EVENT] = {"event", COLUMN_WORD},     [SEARCH_OUTCOME] = {"outcome", COLUMN_WORD}, [SEARCH_ACTOR] = {"actor", COLUMN_WORD},
    [SEARCH_KEY] = {"key", COLUMN_WORD},         [SEARCH_APP] = {"app", COLUMN_WORD},         [SEARCH_CHANNEL] = {"channel", COLUMN_WORD},
    [SEARCH_VERSION] = {"version", COLUMN_TEXT}, [SEARCH_DIGEST] = {"digest", COLUMN_HEX},    [SEARCH_REQUEST] = {"request", COLUMN_HEX}};

/* What many records share leads to many rows: there the index holds the other words too, so that it is decided without the row whether one fits. */
#define WORDS (B(EVENT) | B(OUTCOME) | B(ACTOR) | B(KEY) | B(APP) | B(CHANNEL))
const struct lead leads[] = {
    {"record_request", B(REQUEST), 0}, {"record_digest", B(DIGEST), 0}, {"record_version", B(VERSION), 0},
    {"record_app_channel", B(APP) | B(CHANNEL), WORDS},
    {"record_app", B(APP), WORDS},     {"record_channel", B(CHANNEL), WORDS}, {"record_key", B(KEY), WORDS}, {"record_actor", B(ACTOR), WORDS},
    {"record_event", B(EVENT), WORDS}, {"record_outcome", B(OUTCOME), WORDS},
};
const unsigned n_leads = sizeof leads / sizeof *leads;

static void where(unsigned fields, struct buf *out)
{
    buf_printf(out, " WHERE seq >= ?%d AND seq < ?%d", SQL_LOW, SQL_HIGH);
    for (unsigned n = 0; n < SEARCH_FIELD_COUNT; n++)
        if (fields & 1u << n)
            buf_printf(out, " AND %s = ?%u", columns[n].name, SQL_FIELD + n);
}

void sql_count(const struct lead *lead, struct buf *out)
{
    buf_printf(out, "SELECT count(*) FROM (SELECT 1 FROM record INDEXED BY %s", lead->index);
    where(lead->fields, out);
    buf_printf(out, " LIMIT ?%d)", SQL_LIMIT);
}

void sql_find(const struct lead *lead, unsigned fields, bool descending, struct buf *out)
{
    buf_puts(out, "SELECT " SQL_PLACE " FROM record ");
    if (lead)
        buf_printf(out, "INDEXED BY %s", lead->index);
    else
        buf_puts(out, "NOT INDEXED");
    where(fields, out);
    buf_printf(out, " ORDER BY seq%s LIMIT ?%d", descending ? " DESC" : "", SQL_LIMIT);
}

void sql_scrub(const struct lead *lead, struct buf *out)
{
    buf_printf(out, "SELECT count(*) FROM record AS r NOT INDEXED WHERE r.seq >= ?%d AND r.seq < ?%d AND ", SQL_LOW, SQL_HIGH);
    if (!lead) {
        buf_puts(out, "r.time < (SELECT p.time FROM record AS p WHERE p.seq = r.seq - 1)");
        return;
    }
    for (unsigned n = 0; n < SEARCH_FIELD_COUNT; n++)
        if (lead->fields & 1u << n)
            buf_printf(out, "r.%s IS NOT NULL AND ", columns[n].name);
    buf_printf(out, "NOT EXISTS (SELECT 1 FROM record AS i INDEXED BY %s WHERE i.seq = r.seq", lead->index);
    for (unsigned n = 0; n < SEARCH_FIELD_COUNT; n++)
        if (lead->fields & 1u << n)
            buf_printf(out, " AND i.%s = r.%s", columns[n].name, columns[n].name);
    buf_putc(out, ')');
}

static void list(unsigned fields, struct buf *out)
{
    for (unsigned n = 0; n < SEARCH_FIELD_COUNT; n++)
        if (fields & 1u << n)
            buf_printf(out, "%s, ", columns[n].name);
}

/* The fields that lead, then seq, which orders them, then what else is of use. */
void sql_indices(struct buf *out)
{
    for (unsigned n = 0; n < n_leads; n++) {
        unsigned first = 0;

        while (!(leads[n].fields & 1u << first))
            first++;
        buf_printf(out, "CREATE INDEX %s ON record(", leads[n].index);
        list(leads[n].fields, out);
        buf_puts(out, "seq");
        for (unsigned f = 0; f < SEARCH_FIELD_COUNT; f++)
            if (leads[n].others & ~leads[n].fields & 1u << f)
                buf_printf(out, ", %s", columns[f].name);
        buf_printf(out, ") WHERE %s IS NOT NULL;", columns[first].name);
    }
}
