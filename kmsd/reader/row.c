/* Takes out of the line of a record what the index keeps. */
#include "kmsd/reader/row.h"

#include <string.h>

#include "base/num.h"
#include "base/timefmt.h"

enum { PREV = SEARCH_FIELD_COUNT, SEQ, TIME };
static const struct {
    const char *name;
    unsigned what;
} MEMBERS[] = {{"actor.name", SEARCH_ACTOR}, {"artifact.app", SEARCH_APP}, {"artifact.channel", SEARCH_CHANNEL}, {"artifact.version", SEARCH_VERSION},
               {"digest.hex", SEARCH_DIGEST}, {"event", SEARCH_EVENT}, {"key.name", SEARCH_KEY}, {"outcome", SEARCH_OUTCOME}, {"prev", PREV},
               {"req", SEARCH_REQUEST}, {"seq", SEQ}, {"time", TIME}};
#define N_MEMBERS (sizeof MEMBERS / sizeof *MEMBERS)

/* Between the quotes; nothing where an escape stands, which is in no alphabet of what may be searched for. */
static struct span plain(struct span text)
{
    if (text.len < 2 || text.data[0] != '"' || memchr(text.data, '\\', text.len))
        return span_of(NULL, 0);
    return span_of(text.data + 1, text.len - 2);
}

static int take_time(struct span text, int64_t *out)
{
    char copy[TIME_TEXT];

    if (text.len != sizeof copy - 1)
        return -1;
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    return time_parse(copy, out);
}

int row_read(struct span line, struct row *out, struct err *e)
{
    struct json_wanted wanted[N_MEMBERS];
    struct span text[TIME + 1];

    for (size_t n = 0; n < N_MEMBERS; n++)
        wanted[n] = (struct json_wanted){.name = MEMBERS[n].name};
    if (json_scan_canonical(line.data, line.len, wanted, N_MEMBERS))
        return err_set(e, ERR_LOG_UNAVAILABLE, "not in canonical form");
    for (size_t n = 0; n < N_MEMBERS; n++)
        text[MEMBERS[n].what] = wanted[n].text;
    if (!text[SEQ].data || num_parse_u64((const char *)text[SEQ].data, text[SEQ].len, 0, JSON_INT_MAX, &out->place.seq) ||
        take_time(plain(text[TIME]), &out->time))
        return err_set(e, ERR_LOG_UNAVAILABLE, "without number or time");
    out->prev = plain(text[PREV]);
    for (unsigned n = 0; n < SEARCH_FIELD_COUNT; n++) {
        out->field[n] = plain(text[n]);
        if (!out->field[n].len || out->field[n].len > SEARCH_TEXT_MAX)
            out->field[n] = span_of(NULL, 0);
    }
    return 0;
}
