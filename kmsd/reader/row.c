/* Takes out of a record what the index keeps. */
#include "kmsd/reader/row.h"

#include "audit/record.h"
#include "base/timefmt.h"

int row_of(const json_t *record, struct row *out, struct err *e)
{
    if (time_parse(rec_str(record, "time"), &out->time))
        return err_set(e, ERR_LOG_UNAVAILABLE, "record %llu has no time", (unsigned long long)rec_int(record, "seq"));
    for (unsigned n = 0; n < SEARCH_FIELD_COUNT; n++)
        out->field[n] = search_value(record, (enum search_field)n);
    out->name = rec_str(rec_obj(record, "detail"), "name");
    out->rule = rec_str(record, "rule");
    return 0;
}
