/* Rebuilds the signed payload of a release from its record, byte for byte. What the two have in common stands in both in the same canonical form. */
#include "audit/statement.h"

#include "base/json.h"

#define STATEMENT_ROOM 1000 /* holds most of them */
#define THE_INSTANCE LINE_MEMBER_COUNT

/* Where the members of the predicate come from, in the order in which the canonical form has them. */
static const struct {
    const char *name;
    enum line_member from;
} PREDICATE[] = {
    {"app", LINE_APP},       {"channel", LINE_CHANNEL}, {"environment", LINE_ENVIRONMENT}, {"instance", THE_INSTANCE},
    {"issued", LINE_ISSUED}, {"key", LINE_KEY},         {"log_head", LINE_LOG_HEAD},       {"name", LINE_NAME},
    {"request_id", LINE_REQ}, {"size", LINE_SIZE},      {"source_claimed", LINE_SOURCE_CLAIMED}, {"version", LINE_VERSION},
};

static void put_text(struct buf *out, struct span text)
{
    if (text.data)
        buf_put(out, text.data, text.len);
    else
        buf_puts(out, "\"\"");
}

static void put_predicate(struct buf *out, const struct record_line *record, const char *instance)
{
    const char *before = "{\"";

    for (size_t n = 0; n < sizeof PREDICATE / sizeof *PREDICATE; n++) {
        bool own = PREDICATE[n].from == THE_INSTANCE;

        if (!own && !record->member[PREDICATE[n].from].data)
            continue;
        buf_puts(out, before);
        buf_puts(out, PREDICATE[n].name);
        buf_puts(out, "\":");
        if (own)
            json_canonical_string(out, instance);
        else
            put_text(out, record->member[PREDICATE[n].from]);
        before = ",\"";
    }
    buf_putc(out, '}');
}

int statement_payload(const struct record_line *record, const char *instance, struct buf *out, struct err *e)
{
    buf_expect(out, STATEMENT_ROOM);
    buf_puts(out, STATEMENT_HEAD);
    put_predicate(out, record, instance);
    buf_puts(out, STATEMENT_SUBJECT);
    put_text(out, record->member[LINE_DIGEST]);
    buf_puts(out, "},\"name\":");
    put_text(out, record->member[LINE_NAME]);
    buf_puts(out, "}]}");
    return buf_ok(out) ? err_set(e, ERR_INTERNAL, "the statement is too long") : 0;
}

void statement_pae(struct span payload, struct buf *out)
{
    buf_expect(out, payload.len + 64);
    buf_puts(out, "DSSEv1 ");
    buf_decimal(out, sizeof(STATEMENT_TYPE) - 1);
    buf_puts(out, " " STATEMENT_TYPE " ");
    buf_decimal(out, payload.len);
    buf_putc(out, ' ');
    buf_put(out, payload.data, payload.len);
}
