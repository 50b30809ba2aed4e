/* The statements of a search, put together from constant parts; every value is bound. */
#ifndef KMS_READER_SQL_H
#define KMS_READER_SQL_H

#include "audit/search.h"

enum column_kind { COLUMN_WORD, COLUMN_TEXT, COLUMN_HEX }; /* number of a word, text, bytes of a hexadecimal text */
struct column {
    const char *name;
    enum column_kind kind;
};
extern const struct column columns[SEARCH_FIELD_COUNT]; /* of the table record, in the order of enum search_field */

/* An index that a search may be led by: the rows that equal one or two fields, by seq. */
struct lead {
    const char *index;
    unsigned fields;               /* bits of enum search_field */
    unsigned others;               /* those that its index holds besides */
};
extern const struct lead leads[];
extern const unsigned n_leads;

/* Parameters of both statements: the range of seq, then a place for each field, then the limit. */
enum { SQL_LOW = 1, SQL_HIGH = 2, SQL_FIELD = 3, SQL_LIMIT = SQL_FIELD + SEARCH_FIELD_COUNT };
#define SQL_PLACE "seq, segment, offset, length, hash"
/* How many rows, up to the limit, does the lead leave within low <= seq < high? */
void sql_count(const struct lead *lead, struct buf *out);
/* Places of the rows that equal all the fields, within low <= seq < high. lead NULL = by seq alone. */
void sql_find(const struct lead *lead, unsigned fields, bool descending, struct buf *out);
/* How many rows within low <= seq < high are not found by that index; lead NULL: are older than the row before. */
void sql_scrub(const struct lead *lead, struct buf *out);
/* Every CREATE INDEX, ended by semicolons. */
void sql_indices(struct buf *out);

#endif
