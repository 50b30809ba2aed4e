/* Puts the statements of a search together. */
#include "kmsd/reader/sql.h"

#define B(field) (1u << SEARCH_##field)

const struct column columns[SEARCH_FIELD_COUNT] = {
    [SEARCH_EVENT] = {"event", COLUMN_WORD},     [SEARCH_OUTCOME] = {"outcome", COLUMN_WORD}, [SEARCH_ACTOR] = {"actor", COLUMN_WORD},
    [SEARCH_KEY] = {"key", COLUMN_WORD},         [SEARCH_APP] = {"app", COLUMN_WORD},         [SEARCH_CHANNEL] = {"channel", COLUMN_WORD},
    [SEARCH_VERSION] = {"version", COLUMN_TEXT}, [SEARCH_DIGEST] = {"digest", COLUMN_HEX},    [SEARCH_REQUEST] = {"request", COLUMN_HEX}};

/* seq is the last column of every index without being named: it is the table's rowid. */
const struct lead leads[] = {
    {"record_request", B(REQUEST)}, {"record_digest", B(DIGEST)},   {"record_version", B(VERSION)}, {"record_app_channel", B(APP) | B(CHANNEL)},
    {"record_app", B(APP)},         {"record_channel", B(CHANNEL)}, {"record_key", B(KEY)},         {"record_actor", B(ACTOR)},
    {"record_event", B(EVENT)},     {"record_outcome", B(OUTCOME)},
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

void sql_indices(struct buf *out)
{
    for (unsigned n = 0; n < n_leads; n++) {
        const char *first = "";

        buf_printf(out, "CREATE INDEX %s ON record(", leads[n].index);
        for (unsigned f = 0; f < SEARCH_FIELD_COUNT; f++)
            if (leads[n].fields & 1u << f) {
                buf_printf(out, "%s%s", *first ? ", " : "", columns[f].name);
                first = *first ? first : columns[f].name;
            }
        buf_printf(out, ") WHERE %s IS NOT NULL;", first);
    }
}
