/* The way to the core: requests out, replies in, counts of what was refused here. */
#include <search.h>
#include <string.h>

#include "kmsd/front/front.h"

#define REASONS_MAX 16

static void *waiting; /* requests whose reply is due, by id */
static struct {
    const char *reason;
    uint64_t count;
} counts[REASONS_MAX];
static int64_t counts_sent;
static unsigned refusals_this_second;

static int by_id(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b; /* the first member of a request, or the id that is looked for */

    return (*x > *y) - (*x < *y);
}

/* As the head reader understood it, not the library. */
static void put_part(struct buf *out, const struct conn *c, enum headscan_part part, enum frame_tag tag)
{
    struct span value = headscan_part(&c->scan, part);

    if (value.data)
        frame_put(out, tag, value);
}

static void put_certificate(struct buf *out, gnutls_session_t session)
{
    unsigned n = 0;
    const gnutls_datum_t *peers = gnutls_certificate_get_peers(session, &n);

    if (peers && n)
        frame_put(out, TAG_CERT, span_of(peers[0].data, peers[0].size));
}

int core_send(struct http_request *rq)
{
    struct buf *out = &front.core.out;
    size_t mark;

    if (front.in_flight >= IN_FLIGHT_LIMIT || out->len > OUT_LIMIT)
        return -1;
    rq->id = ++front.next_id;
    if (!tsearch(rq, &waiting, by_id))
        return -1;
    front.in_flight++;
    mark = frame_begin(out, FRAME_REQUEST, rq->id);
    put_part(out, rq->conn, HEADSCAN_METHOD, TAG_METHOD);
    put_part(out, rq->conn, HEADSCAN_TARGET, TAG_TARGET);
    frame_put_str(out, TAG_SOURCE, rq->conn->peer->name);
    put_certificate(out, rq->conn->session);
    if (rq->body.len)
        frame_put(out, TAG_BODY, buf_span(&rq->body));
    put_part(out, rq->conn, HEADSCAN_IDEMPOTENCY_KEY, TAG_IDEMPOTENCY);
    put_part(out, rq->conn, HEADSCAN_KMS_SIGNATURE, TAG_KMS_SIGNATURE);
    put_part(out, rq->conn, HEADSCAN_CONTENT_TYPE, TAG_CONTENT_TYPE);
    frame_end(out, mark);
    return 0;
}

void core_forget(struct http_request *rq)
{
    tdelete(rq, &waiting, by_id);
    front.in_flight--;
}

static void take_text(const struct frame *f, enum frame_tag tag, char *out, size_t size)
{
    if (frame_text(f, tag, out, size))
        out[0] = '\0';
}

static int on_reply(const struct frame *f)
{
    void *const *found = tfind(&f->id, &waiting, by_id);
    struct http_request *rq = found ? *found : NULL;

    /* The reply to a client that left is dropped; one to a request that never was is nonsense. */
    if (!rq)
        return f->id && f->id <= front.next_id ? 0 : -1;
    core_forget(rq);
    rq->reply.status = (unsigned)frame_u64(f, TAG_STATUS);
    rq->reply.retry_after = frame_u64(f, TAG_RETRY_AFTER);
    take_text(f, TAG_CONTENT_TYPE, rq->reply.content_type, sizeof rq->reply.content_type);
    take_text(f, TAG_REQUEST_ID, rq->reply.request_id, sizeof rq->reply.request_id);
    take_text(f, TAG_LOCATION, rq->reply.location, sizeof rq->reply.location);
    take_text(f, TAG_LINK, rq->reply.link, sizeof rq->reply.link);
    take_text(f, TAG_ALLOW, rq->reply.allow, sizeof rq->reply.allow);
    rq->reply.body = BUF_INIT(FRAME_MAX);
    buf_put(&rq->reply.body, f->field[TAG_BODY].data, f->field[TAG_BODY].len);
    http_hold(rq, rq->reply.body.len);
    rq->answered = true;
    MHD_resume_connection(rq->connection);
    return 0;
}

int core_receive(void)
{
    struct frame f;
    struct err e = {0};
    int more, got = stream_fill(&front.core);

    while ((more = stream_next(&front.core, &f, &e)) > 0)
        if (f.type != FRAME_REPLY || on_reply(&f))
            return -1;
    return more < 0 || got < 0 ? -1 : 0;
}

void core_count_tls(const char *reason)
{
    for (size_t n = 0; n < REASONS_MAX; n++)
        if (!counts[n].reason || !strcmp(counts[n].reason, reason)) {
            counts[n].reason = reason;
            counts[n].count++;
            return;
        }
}

void core_refused(const struct conn *c, enum err_code code)
{
    struct buf *out = &front.core.out;
    size_t mark;

    if (refusals_this_second++ >= 100 || out->len > OUT_LIMIT) {
        core_count_tls("http-refused");
        return;
    }
    mark = frame_begin(out, FRAME_HTTP_REFUSED, 0);
    frame_put_str(out, TAG_SOURCE, c->peer->name);
    frame_put_u64(out, TAG_CODE, code);
    frame_end(out, mark);
}

void core_tick(int64_t now)
{
    if (now - counts_sent < 1000000)
        return;
    counts_sent = now;
    refusals_this_second = 0;
    for (size_t n = 0; n < REASONS_MAX; n++) {
        size_t mark;

        if (!counts[n].count || front.core.out.len > OUT_LIMIT)
            continue;
        mark = frame_begin(&front.core.out, FRAME_TLS_REFUSED, 0);
        frame_put_u64(&front.core.out, TAG_COUNT, counts[n].count);
        frame_put_str(&front.core.out, TAG_REASON, counts[n].reason);
        frame_end(&front.core.out, mark);
        counts[n].count = 0;
    }
}
