/* What the index takes out of a line of the log is what a search compares. */
#include <stdlib.h>
#include <string.h>

#include "audit/record.h"
#include "base/timefmt.h"
#include "kmsd/reader/row.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Texts with an escape, empty ones and long ones are in no search. */
static bool searched(const char *text)
{
    for (const char *c = text; *c; c++)
        if (*c == '\\' || *c == '"' || (unsigned char)*c < 0x20)
            return false;
    return *text && strlen(text) <= SEARCH_TEXT_MAX;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    JSON_AUTO *record = json_read_object(data, size, RECORD_LINE_MAX, NULL);
    struct row row;
    struct err e = {0};
    int64_t time;

    if (size > RECORD_LINE_MAX || row_read(span_of(data, size), &row, &e))
        return 0;
    if (!record || row.place.seq != rec_int(record, "seq") || time_parse(rec_str(record, "time"), &time) || time != row.time)
        abort();
    for (unsigned n = 0; n < SEARCH_FIELD_COUNT; n++) {
        const char *text = search_value(record, (enum search_field)n);

        if (!span_eq_str(row.field[n], searched(text) ? text : ""))
            abort();
    }
    return 0;
}
