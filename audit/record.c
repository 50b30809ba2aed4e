/* Builds records and seals them into canonical lines. */
#include "audit/record.h"

#include <string.h>

#include "base/timefmt.h"

const struct actor actor_system = {"kmsd", "system", "", "internal"};

void chain_start(struct chain *c)
{
    *c = (struct chain){0};
    memset(c->prev, '0', SHA256_HEX - 1);
}

json_t *record_new(const char *event, const char *outcome, const struct actor *actor, const char *req)
{
    return json_pack("{s:i, s:s, s:s, s:{s:s, s:s, s:s, s:s}, s:s}", "v", 1, "event", event, "outcome", outcome, "actor", "name", actor->name, "kind",
                     actor->kind, "cred", actor->cred, "method", actor->method, "req", req);
}

void record_text(json_t *record, const char *member, const char *value)
{
    if (value && *value)
        json_object_set_new(record, member, json_string(value));
}

json_t *record_key(const char *name, uint64_t version)
{
    return json_pack("{s:s, s:I}", "name", name, "version", (json_int_t)version);
}

json_t *record_artifact(const char *app, const char *channel, const char *version)
{
    return json_pack("{s:s, s:s, s:s}", "app", app, "channel", channel, "version", version);
}

json_t *record_head(uint64_t seq, const char *hash)
{
    return json_pack("{s:I, s:s}", "seq", (json_int_t)seq, "hash", hash);
}

int record_seal(json_t *record, struct chain *c, int64_t now_us, const char *boot, struct buf *out, struct err *e)
{
    char text[TIME_TEXT];
    int64_t at = now_us > c->time ? now_us : c->time;
    size_t start = out->len;

    time_format(at, text);
    if (json_object_set_new(record, "seq", json_integer((json_int_t)c->next_seq)) || json_object_set_new(record, "prev", json_string(c->prev)) ||
        json_object_set_new(record, "time", json_string(text)) || json_object_set_new(record, "boot", json_string(boot)))
        return err_set(e, ERR_INTERNAL, "out of memory while building a record");
    json_canonical(out, record);
    if (buf_ok(out) || out->len - start > RECORD_LINE_MAX) {
        out->len = start;
        out->failed = false;
        return err_set(e, ERR_INTERNAL, "the record does not fit a line of %d bytes", RECORD_LINE_MAX);
    }
    if (json_is_canonical(out->data + start, out->len - start)) { /* a line that the next start would refuse must not be written */
        out->len = start;
        return err_set(e, ERR_INTERNAL, "the record has a member that the log does not take");
    }
    sha256_hex(out->data + start, out->len - start, c->prev);
    buf_putc(out, '\n');
    c->next_seq++;
    c->time = at;
    return buf_ok(out);
}

const char *rec_str(const json_t *record, const char *member)
{
    const char *s = json_string_value(json_object_get(record, member));

    return s ? s : "";
}

uint64_t rec_int(const json_t *record, const char *member)
{
    json_int_t n = json_integer_value(json_object_get(record, member));

    return n < 0 ? 0 : (uint64_t)n;
}

int rec_seq(const json_t *record, uint64_t *out)
{
    const json_t *seq = json_object_get(record, "seq");

    if (!json_is_integer(seq) || json_integer_value(seq) < 0)
        return -1;
    *out = (uint64_t)json_integer_value(seq);
    return 0;
}

const json_t *rec_obj(const json_t *record, const char *member)
{
    return json_object_get(record, member);
}
