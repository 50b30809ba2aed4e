/* The requests of the load generator, and how their answers count. */
#include <stdlib.h>
#include <string.h>

#include "tests/bench/load/load.h"

#define ITEM_ROOM 512

static void put(struct buf *b, const char *before, const char *text)
{
    buf_puts(b, before);
    buf_puts(b, text);
}

static void put_number(struct buf *b, const char *before, uint64_t n)
{
    buf_puts(b, before);
    buf_decimal(b, n);
}

static void put_hex(struct buf *b, uint64_t n)
{
    char text[16];

    for (size_t k = sizeof text; k--; n >>= 4)
        text[k] = "0123456789abcdef"[n & 15];
    buf_put(b, text, sizeof text);
}

/* The digest says which release it is of; nobody hashes anything for it. Without printf, whose share of the processor the service would lack. */
static void put_item(struct buf *b, const struct load *l, const struct peer *p, unsigned item)
{
    const struct options *o = l->options;

    put(b, "{\"key\":\"", o->sign_key);
    put(b, "\",\"app\":\"", o->app);
    put_number(b, ".c", p->number);
    put(b, "\",\"channel\":\"", o->channel);
    put_number(b, "\",\"version\":\"", l->run);
    put_number(b, ".0.", p->serial);
    put_number(b, "\",\"name\":\"bundle-", item);
    buf_puts(b, ".zip\",\"size\":48210344,\"digest\":{\"alg\":\"sha256\",\"hex\":\"");
    put_hex(b, l->run);
    put_hex(b, p->serial);
    put_hex(b, p->number);
    put_hex(b, item);
    buf_puts(b, "\"}}");
}

static void begin(const struct load *l, struct peer *p, const char *method, const char *target)
{
    p->serial++;
    buf_clear(&p->out);
    buf_clear(&p->in);
    p->written = 0;
    put(&p->out, method, target);
    put(&p->out, " HTTP/1.1\r\nHost: ", l->options->host);
    put(&p->out, ":", l->options->port);
}

static void build_sign(const struct load *l, struct peer *p)
{
    const struct options *o = l->options;
    BUF_AUTO body = BUF_INIT(4u << 20);

    begin(l, p, "POST ", "/v1/sign");
    buf_expect(&body, (size_t)ITEM_ROOM * (o->batch + 1));
    if (o->batch) {
        buf_puts(&body, "{\"items\":[");
        for (unsigned n = 0; n < o->batch; n++) {
            if (n)
                buf_putc(&body, ',');
            put_item(&body, l, p, n);
        }
        buf_puts(&body, "]}");
    } else {
        put_item(&body, l, p, 0);
    }
    put_number(&p->out, "\r\nContent-Type: application/json\r\nContent-Length: ", body.len);
    if (o->idempotent) {
        put_number(&p->out, "\r\nIdempotency-Key: bench-", l->run);
        put_number(&p->out, "-", p->number);
        put_number(&p->out, "-", p->serial);
    }
    buf_puts(&p->out, "\r\n\r\n");
    buf_put(&p->out, body.data, body.len);
}

void request_build(const struct load *l, struct peer *p)
{
    const struct options *o = l->options;

    if (!o->n_targets) {
        build_sign(l, p);
        return;
    }
    begin(l, p, "GET ", o->targets[p->serial % o->n_targets]);
    buf_puts(&p->out, "\r\n\r\n");
}

static const char *find(const struct buf *in, const char *text)
{
    return in->len ? memmem(in->data, in->len, text, strlen(text)) : NULL;
}

int answer_whole(const struct buf *in, unsigned *status)
{
    const char *start = (const char *)in->data, *end = find(in, "\r\n\r\n"), *length;
    size_t body;

    if (!end)
        return 0;
    length = find(in, "\r\nContent-Length: ");
    if (in->len < 12 || memcmp(start, "HTTP/1.1 ", 9) || !length || length > end)
        return -1;
    *status = (unsigned)strtoul(start + 9, NULL, 10);
    body = strtoul(length + 18, NULL, 10);
    return in->len - (size_t)(end + 4 - start) >= body;
}

static void keep_latency(struct tally *t, int64_t us)
{
    if (t->n_latency == t->cap_latency) {
        size_t cap = t->cap_latency ? 2 * t->cap_latency : 4096;
        uint32_t *grown = reallocarray(t->latency, cap, sizeof *grown);

        if (!grown)
            return;
        t->latency = grown;
        t->cap_latency = cap;
    }
    t->latency[t->n_latency++] = us < 0 ? 0 : us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
}

/* An answer counts as many signatures as it has envelopes. */
static unsigned envelopes(const struct buf *in)
{
    static const char mark[] = "\"envelope\":";
    const char *at = (const char *)in->data, *end = at + in->len;
    unsigned n = 0;

    while ((at = memmem(at, (size_t)(end - at), mark, sizeof mark - 1))) {
        at += sizeof mark - 1;
        n++;
    }
    return n;
}

void answer_count(struct load *l, const struct peer *p, unsigned status)
{
    unsigned wanted = l->options->n_targets ? 0 : l->options->batch ? l->options->batch : 1, got = wanted && status == 200 ? envelopes(&p->in) : 0;
    bool failed = status != 200 || got != wanted;
    struct tally *t = &l->tally;

    if (failed && !t->first_error[0]) {
        const char *body = find(&p->in, "\r\n\r\n");
        size_t n = body ? p->in.len - (size_t)(body + 4 - (const char *)p->in.data) : 0;

        n = n < sizeof t->first_error ? n : sizeof t->first_error - 1;
        memcpy(t->first_error, body ? body + 4 : "", n);
        t->first_error[n] = '\0';
    }
    t->errors += failed;
    if (!l->counting)
        return;
    t->requests++;
    t->signatures += got;
    keep_latency(t, now_us() - p->began);
}
