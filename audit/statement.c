/* Rebuilds the signed payload of a release from its record, byte for byte. */
#include "audit/statement.h"

#include "audit/record.h"

#define STATEMENT_ROOM 1000 /* holds most of them */

/* Where the members of the predicate come from, in the order in which the canonical form has them. */
static const struct {
    const char *name;
    enum { FROM_RECORD, FROM_DETAIL, FROM_ARTIFACT, THE_INSTANCE, THE_REQUEST } from;
} PREDICATE[] = {
    {"app", FROM_ARTIFACT},    {"channel", FROM_ARTIFACT}, {"environment", FROM_DETAIL}, {"instance", THE_INSTANCE},
    {"issued", FROM_DETAIL},   {"key", FROM_RECORD},       {"log_head", FROM_DETAIL},    {"name", FROM_DETAIL},
    {"request_id", THE_REQUEST}, {"size", FROM_DETAIL},    {"source_claimed", FROM_RECORD}, {"version", FROM_ARTIFACT},
};

static void put_predicate(struct buf *out, const json_t *record, const char *instance)
{
    const json_t *of[] = {[FROM_RECORD] = record, [FROM_DETAIL] = rec_obj(record, "detail"), [FROM_ARTIFACT] = rec_obj(record, "artifact")};

    char before = '{';

    for (size_t n = 0; n < sizeof PREDICATE / sizeof *PREDICATE; n++) {
        const char *name = PREDICATE[n].name;
        bool text = PREDICATE[n].from == THE_INSTANCE || PREDICATE[n].from == THE_REQUEST;
        const json_t *value = text ? NULL : rec_obj(of[PREDICATE[n].from], name);

        if (!text && !value)
            continue;
        buf_putc(out, (uint8_t)before);
        before = ',';
        json_canonical_string(out, name);
        buf_putc(out, ':');
        if (text)
            json_canonical_string(out, PREDICATE[n].from == THE_INSTANCE ? instance : rec_str(record, "req"));
        else
            json_canonical(out, value);
    }
    buf_putc(out, '}');
}

/* Every signature has its payload built more than once: written straight away, without a tree in between. */
int statement_payload(const json_t *record, const char *instance, struct buf *out, struct err *e)
{
    buf_expect(out, STATEMENT_ROOM);
    buf_puts(out, "{\"_type\":\"https://in-toto.io/Statement/v1\",\"predicate\":");
    put_predicate(out, record, instance);
    buf_puts(out, ",\"predicateType\":\"" STATEMENT_PREDICATE "\",\"subject\":[{\"digest\":{\"sha256\":");
    json_canonical_string(out, rec_str(rec_obj(record, "digest"), "hex"));
    buf_puts(out, "},\"name\":");
    json_canonical_string(out, rec_str(rec_obj(record, "detail"), "name"));
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
