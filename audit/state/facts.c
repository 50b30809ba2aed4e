/* What the fold needs of every record, and of a signature's: the same whether the record was read into a tree or is at hand as its line alone. */
#include <string.h>

#include "audit/state/internal.h"
#include "base/timefmt.h"

static int64_t moment(const char *text)
{
    int64_t at;

    return time_parse(text, &at) ? -1 : at;
}

void facts_of_record(const json_t *record, struct facts *out)
{
    const json_t *artifact = rec_obj(record, "artifact"), *request = rec_obj(record, "request");

    *out = (struct facts){
        .is_record = json_is_integer(rec_obj(record, "seq")) && rec_int(record, "v") == 1,
        .seq = rec_int(record, "seq"),
        .time = moment(rec_str(record, "time")),
        .prev = rec_str(record, "prev"),
        .event = rec_str(record, "event"),
        .outcome = rec_str(record, "outcome"),
        .actor = rec_str(rec_obj(record, "actor"), "name"),
        .idem = rec_str(record, "idem"),
        .body_sha256 = rec_str(record, "body_sha256"),
        .method = request ? rec_str(request, "method") : NULL,
        .path = request ? rec_str(request, "path") : NULL,
        .app = rec_str(artifact, "app"),
        .channel = rec_str(artifact, "channel"),
        .version = rec_str(artifact, "version"),
        .name = rec_str(rec_obj(record, "detail"), "name"),
        .digest = rec_str(rec_obj(record, "digest"), "hex"),
        .key = rec_str(rec_obj(record, "key"), "name"),
    };
}

struct taking {
    const struct record_line *line;
    char *at, *end;
    bool failed;
};

static const char *text(struct taking *t, enum line_member m)
{
    struct span s = record_line_string(t->line, m);
    const char *out = t->at;

    if (!t->line->member[m].data)
        return "";
    if (!s.data || s.len >= (size_t)(t->end - t->at)) {
        t->failed = true;
        return "";
    }
    memcpy(t->at, s.data, s.len);
    t->at[s.len] = '\0';
    t->at += s.len + 1;
    return out;
}

int facts_of_line(const struct record_line *line, char room[static FACTS_ROOM], struct facts *out, struct err *e)
{
    struct taking t = {line, room, room + FACTS_ROOM, false};
    uint64_t v = 0;

    *out = (struct facts){
        .is_record = !record_line_number(line, LINE_V, &v) && v == 1,
        .time = moment(text(&t, LINE_TIME)),
        .prev = text(&t, LINE_PREV),
        .event = text(&t, LINE_EVENT),
        .outcome = text(&t, LINE_OUTCOME),
        .actor = text(&t, LINE_ACTOR),
        .idem = text(&t, LINE_IDEM),
        .body_sha256 = text(&t, LINE_BODY_SHA256),
        .app = text(&t, LINE_APP),
        .channel = text(&t, LINE_CHANNEL),
        .version = text(&t, LINE_VERSION),
        .name = text(&t, LINE_NAME),
        .digest = text(&t, LINE_DIGEST),
        .key = text(&t, LINE_KEY_NAME),
    };
    return t.failed || record_line_number(line, LINE_SEQ, &out->seq) ? err_set(e, ERR_INTERNAL, "the line is not that of a signature's record") : 0;
}
