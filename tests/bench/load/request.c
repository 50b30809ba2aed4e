/* The requests of the load generator, and how their answers count. */
#include <stdlib.h>
#include <string.h>

#include "tests/bench/load/load.h"

/* The digest says which release it is of; nobody hashes anything for it. */
static void put_item(struct buf *b, const struct load *l, const struct peer *p, unsigned item)
{
    const struct options *o = l->options;

    buf_printf(b, "{\"key\":\"%s\",\"app\":\"%s.c%u\",\"channel\":\"%s\",\"version\":\"%llu.0.%llu\",\"name\":\"bundle-%u.zip\",\"size\":48210344,", o->sign_key,
               o->app, p->number, o->channel, (unsigned long long)l->run, (unsigned long long)p->serial, item);
    buf_printf(b, "\"digest\":{\"alg\":\"sha256\",\"hex\":\"%016llx%016llx%016x%016x\"}}", (unsigned long long)l->run, (unsigned long long)p->serial, p->number, item);
}

void request_build(const struct load *l, struct peer *p)
{
    const struct options *o = l->options;
    BUF_AUTO body = BUF_INIT(4u << 20);

    p->serial++;
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
    buf_clear(&p->out);
    buf_clear(&p->in);
    p->written = 0;
    buf_printf(&p->out, "POST /v1/sign HTTP/1.1\r\nHost: %s:%s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n", o->host, o->port, body.len);
    if (o->idempotent)
        buf_printf(&p->out, "Idempotency-Key: bench-%llu-%u-%llu\r\n", (unsigned long long)l->run, p->number, (unsigned long long)p->serial);
    buf_puts(&p->out, "\r\n");
    buf_put(&p->out, body.data, body.len);
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
    unsigned wanted = l->options->batch ? l->options->batch : 1, got = status == 200 ? envelopes(&p->in) : 0;
    struct tally *t = &l->tally;

    if (got != wanted && !t->first_error[0]) {
        const char *body = find(&p->in, "\r\n\r\n");
        size_t n = body ? p->in.len - (size_t)(body + 4 - (const char *)p->in.data) : 0;

        n = n < sizeof t->first_error ? n : sizeof t->first_error - 1;
        memcpy(t->first_error, body ? body + 4 : "", n);
        t->first_error[n] = '\0';
    }
    t->errors += got != wanted;
    if (!l->counting)
        return;
    t->requests++;
    t->signatures += got;
    keep_latency(t, now_us() - p->began);
}
