/* Finds members in the line of a record. */
#include "audit/recordline.h"

#include <string.h>

#include "base/json.h"
#include "base/num.h"

int record_line_read(struct span text, struct record_line *out, struct err *e)
{
    struct json_wanted wanted[] = {
#define X(name, path) {path, {0}},
        LINE_MEMBERS(X)
#undef X
    };

    if (json_scan_canonical(text.data, text.len, wanted, LINE_MEMBER_COUNT))
        return err_set(e, ERR_INTERNAL, "the line is no record in canonical form");
    out->text = text;
    for (size_t n = 0; n < LINE_MEMBER_COUNT; n++)
        out->member[n] = wanted[n].text;
    return 0;
}

struct span record_line_string(const struct record_line *l, enum line_member m)
{
    struct span text = l->member[m];

    if (text.len < 2 || *text.data != '"' || memchr(text.data, '\\', text.len))
        return span_of(NULL, 0);
    return span_of(text.data + 1, text.len - 2);
}

bool record_line_is(const struct record_line *l, enum line_member m, const char *text)
{
    struct span s = record_line_string(l, m);

    return s.data && span_eq_str(s, text);
}

int record_line_number(const struct record_line *l, enum line_member m, uint64_t *out)
{
    return num_parse_u64((const char *)l->member[m].data, l->member[m].len, 0, JSON_INT_MAX, out);
}
