/* Writes the record of a signature in canonical form. Whoever seals the line checks that it is. */
#include "audit/signing.h"

#include "audit/statement.h"
#include "base/timefmt.h"

#define LINE_ROOM 1600 /* holds most of them */

static void put(struct buf *out, const char *before, const char *text)
{
    buf_puts(out, before);
    json_canonical_string(out, text);
}

static void put_optional(struct buf *out, const char *before, const char *text)
{
    if (text && *text)
        put(out, before, text);
}

static void put_number(struct buf *out, const char *before, uint64_t n)
{
    buf_puts(out, before);
    buf_decimal(out, n);
}

static void put_detail(const struct signing *s, struct buf *out)
{
    if (s->statement) {
        put(out, ",\"detail\":{\"environment\":", s->environment);
        put(out, ",\"issued\":", s->issued);
        put(out, ",\"log_head\":{\"hash\":", s->head_hash);
        put_number(out, ",\"seq\":", s->head_seq);
        put(out, "},\"name\":", s->name);
    } else {
        put(out, ",\"detail\":{\"name\":", s->name);
    }
    if (s->size >= 0)
        put_number(out, ",\"size\":", (uint64_t)s->size);
}

void signing_put(const struct signing *s, const struct chain *c, int64_t now_us, const char *boot, struct buf *out)
{
    char time[TIME_TEXT];

    time_format(now_us > c->time ? now_us : c->time, time);
    buf_expect(out, LINE_ROOM);
    put(out, "{\"actor\":{\"cred\":", s->actor.cred);
    put(out, ",\"kind\":", s->actor.kind);
    put(out, ",\"method\":", s->actor.method);
    put(out, ",\"name\":", s->actor.name);
    put(out, "},\"artifact\":{\"app\":", s->app);
    put(out, ",\"channel\":", s->channel);
    put(out, ",\"version\":", s->version);
    put(out, "},\"body_sha256\":", s->body_sha256);
    put(out, ",\"boot\":", boot);
    put_detail(s, out);
    put(out, "},\"digest\":{\"alg\":", s->alg);
    put(out, ",\"hex\":", s->digest);
    put(out, "},\"event\":", s->statement ? "sign.release" : "sign.digest");
    put_optional(out, ",\"idem\":", s->idem);
    put(out, ",\"key\":{\"name\":", s->key);
    put_number(out, ",\"version\":", s->key_version);
    put(out, "},\"outcome\":", "ok");
    put(out, ",\"policy\":", s->policy);
    put(out, ",\"prev\":", c->prev);
    put(out, ",\"req\":", s->req);
    put(out, ",\"rule\":", s->rule);
    put(out, ",\"scheme\":", s->scheme);
    put_number(out, ",\"seq\":", c->next_seq);
    put_optional(out, ",\"signature\":", s->signature);
    put_optional(out, ",\"source_claimed\":", s->source_claimed);
    put_optional(out, ",\"src\":", s->src);
    put(out, ",\"time\":", time);
    buf_puts(out, ",\"v\":1}");
}

void signing_statement(const struct signing *s, const char *instance, struct buf *out)
{
    buf_expect(out, LINE_ROOM);
    put(out, STATEMENT_HEAD "{\"app\":", s->app);
    put(out, ",\"channel\":", s->channel);
    put(out, ",\"environment\":", s->environment);
    put(out, ",\"instance\":", instance);
    put(out, ",\"issued\":", s->issued);
    put(out, ",\"key\":{\"name\":", s->key);
    put_number(out, ",\"version\":", s->key_version);
    put(out, "},\"log_head\":{\"hash\":", s->head_hash);
    put_number(out, ",\"seq\":", s->head_seq);
    put(out, "},\"name\":", s->name);
    put(out, ",\"request_id\":", s->req);
    if (s->size >= 0)
        put_number(out, ",\"size\":", (uint64_t)s->size);
    put_optional(out, ",\"source_claimed\":", s->source_claimed);
    put(out, ",\"version\":", s->version);
    put(out, "}" STATEMENT_SUBJECT, s->digest);
    put(out, "},\"name\":", s->name);
    buf_puts(out, "}]}");
}
