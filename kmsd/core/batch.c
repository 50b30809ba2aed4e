/* Many sign requests in one: each item is a request of its own, signed, refused and recorded as one that came alone; only its answer goes to its place in
 * the batch. Items begin in their order, a window of them at a time, so that a large batch leaves others their turn: it widens while items are answered
 * quickly and narrows when they take long, and so holds about as much work as the token does in that time. */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "kmsd/core/internal.h"

#define WINDOW_FIRST 32
#define WINDOW_LEAST 8
#define WINDOW_MOST 256
#define QUICK_US INT64_C(100000)
#define SLOW_US INT64_C(300000)

struct batch_answer {
    char *text;
    size_t len;
};
struct batch {
    struct request *rq;            /* brought the items; answered when the last of them is */
    const json_t *items;           /* in rq's JSON tree, or */
    struct span *plain;            /* in its text */
    unsigned n, begun, live, failed, window;
    uint64_t compromises;          /* of the core, when it began */
    bool filling;
    struct batch_answer answer[];
};

unsigned batch_size(const struct batch *b)
{
    return b ? b->n : 0;
}

void batch_free(struct core *c, struct batch *b)
{
    if (!b)
        return;
    c->n_items -= b->n;
    for (unsigned n = 0; n < b->n; n++)
        free(b->answer[n].text);
    free(b->plain);
    free(b);
}

/* A signature that waited for the rest of its batch while its key was marked compromised is not given any more. */
static void withhold(struct core *c, struct batch *b, struct batch_answer *a)
{
    BUF_AUTO text = BUF_INIT(FRAME_MAX);
    struct err e = {0};
    JSON_AUTO *answer = a->text ? json_read_object(a->text, a->len, FRAME_MAX, &e) : NULL;
    const struct key *k = state_key(c->state, rec_str(answer, "key"));

    if (!k || !k->compromised[0] || !keylife_usable(k, &e))
        return;
    JSON_AUTO *place = json_pack("{s:o}", "problem", problem_json(&e, rec_str(answer, "request_id")));

    refusal_count(c, b->rq->identity, b->rq->cred, b->rq->src, err_slug(e.code), 1);
    json_canonical(&text, place);
    free(a->text);
    a->text = buf_steal(&text, &a->len);
    b->failed += a->text != NULL;
}

/* For want of memory an answer may be missing; what was recorded is found again under the Idempotency-Key, or by its name. */
static void put_lost(const struct batch *b, struct buf *out)
{
    buf_printf(out, "{\"problem\":{\"detail\":\"the service is out of memory. %s\",\"request_id\":\"%s\",\"retry_after\":1,\"status\":%u,\"title\":\"%s\","
               "\"type\":\"urn:kmsd:problem:%s\"}}", err_cure(ERR_BUSY), b->rq->req, err_status(ERR_BUSY), err_title(ERR_BUSY), err_slug(ERR_BUSY));
}

static void finish(struct core *c, struct batch *b)
{
    BUF_AUTO text = BUF_INIT(FRAME_MAX);
    struct err e = {0};
    size_t len = 64;

    for (unsigned n = 0; c->compromises != b->compromises && n < b->n; n++)
        withhold(c, b, &b->answer[n]);
    for (unsigned n = 0; n < b->n; n++) {
        b->failed += !b->answer[n].text;
        len += b->answer[n].len + 1;
    }
    buf_expect(&text, len);
    buf_printf(&text, "{\"failed\":%u,\"items\":[", b->failed);
    for (unsigned n = 0; n < b->n; n++) {
        const struct batch_answer *a = &b->answer[n];

        buf_puts(&text, n ? "," : "");
        if (a->text)
            buf_put(&text, a->text, a->len);
        else
            put_lost(b, &text);
    }
    buf_puts(&text, "]}");
    if (buf_ok(&text)) {
        err_set(&e, ERR_BUSY, "the service is out of memory");
        reply_problem(c, b->rq, &e);
        return;
    }
    reply(c, b->rq, &(struct reply_head){.status = 200, .content_type = "application/json"}, buf_span(&text));
}

/* What the item would be as the body of a request: its RFC 8785 form, and KEY:index where the batch has the Idempotency-Key KEY. */
static int set_body(struct request *item, const struct batch *b, unsigned n, const struct buf *text, struct err *e)
{
    BUF_AUTO key = BUF_INIT(IDEM_MAX);

    if (buf_ok(text))
        return err_set(e, ERR_BAD_REQUEST, "the item has no canonical form");
    if (text->len > SIGN_BODY_MAX)
        return err_set(e, ERR_TOO_LARGE, "the item has %zu bytes, a sign request may have %u", text->len, SIGN_BODY_MAX);
    sha256_hex(text->data, text->len, item->body_sha256);
    if (!b->rq->idem[0])
        return 0;
    buf_printf(&key, "%s:%u", b->rq->idem, n);
    if (buf_ok(&key))
        return err_set(e, ERR_INTERNAL, "the item's Idempotency-Key is too long");
    memcpy(item->idem, buf_str(&key), key.len + 1);
    return 0;
}

static int read_plain(struct request *item, struct batch *b, unsigned n, struct json_flat *flat, struct json_reader *r, struct err *e)
{
    BUF_AUTO text = BUF_INIT(BATCH_BODY_MAX);

    if (json_flat_read(request_text(b->rq) + (b->plain[n].data - b->rq->body.data), b->plain[n].len, flat))
        return err_set(e, ERR_INTERNAL, "items[%u] cannot be read again", n);
    buf_expect(&text, b->plain[n].len);
    json_flat_canonical(&text, flat);
    json_begin_flat(r, flat);
    return set_body(item, b, n, &text, e);
}

static int read_tree(struct request *item, struct batch *b, unsigned n, struct json_reader *r, struct err *e)
{
    BUF_AUTO text = BUF_INIT(BATCH_BODY_MAX);

    item->json = json_incref(json_array_get(b->items, n));
    if (!json_is_object(item->json))
        return err_set(e, ERR_BAD_REQUEST, "items[%u] must be an object", n);
    json_canonical(&text, item->json);
    return set_body(item, b, n, &text, e) || json_begin(r, item->json, "", e) ? -1 : 0;
}

static void begin_item(struct core *c, struct batch *b, unsigned n)
{
    struct request *item = request_item(c, b->rq, n);
    struct json_flat flat;
    struct json_reader r;
    struct err e = {0};

    if (!item)
        return; /* its place says so */
    b->live++;
    item->arrived = c->clock.boot;
    if (c->stopping)
        err_set(&e, ERR_BUSY, "the service is stopping");
    else if (!(b->plain ? read_plain(item, b, n, &flat, &r, &e) : read_tree(item, b, n, &r, &e)) && !sign_request_parse(&r, &item->sign, &e) &&
             !authorise(c, item, item->sign.key, item->sign.app, item->sign.channel, &e)) { /* who has no right there keeps nobody waiting */
        wait_turn(c, item);
        return;
    }
    request_refuse(c, item, &e);
}

/* An item that is answered at once comes back here; so the outermost call does the work. None overtakes those that wait already. */
static void fill(struct core *c, struct batch *b)
{
    if (b->filling)
        return;
    b->filling = true;
    while (b->begun < b->n && b->live < b->window) {
        begin_item(c, b, b->begun++);
        if (b->live >= b->window || b->begun == b->n)
            wake_waiters(c);
    }
    b->filling = false;
    if (!b->live && b->begun == b->n)
        finish(c, b);
}

static void adjust_window(struct batch *b, int64_t took)
{
    if (took < QUICK_US && b->window < WINDOW_MOST)
        b->window++;
    else if (took > SLOW_US && b->window > WINDOW_LEAST)
        b->window--;
}

void batch_answer(struct core *c, struct request *item, unsigned status, struct span body)
{
    struct batch *b = item->batch;
    struct batch_answer *a = &b->answer[item->index];
    BUF_AUTO text = BUF_INIT(FRAME_MAX);
    bool good = status / 100 == 2;

    buf_expect(&text, body.len + sizeof "{\"problem\":}");
    buf_puts(&text, good ? "" : "{\"problem\":");
    buf_put(&text, body.data, body.len);
    buf_puts(&text, good ? "" : "}");
    if (body.len)
        a->text = buf_steal(&text, &a->len);
    b->failed += !good && a->text;
    b->live--;
    adjust_window(b, c->clock.boot - item->arrived);
    request_free(c, item);
    fill(c, b);
}

static int check(const struct core *c, struct request *rq, size_t n, struct err *e)
{
    if (!n)
        return err_set(e, ERR_BAD_REQUEST, "items is empty");
    if (strlen(rq->idem) > IDEM_MAX - 4)
        return err_set(e, ERR_BAD_REQUEST, "the Idempotency-Key of a batch may have %d characters: that of an item is KEY:index", IDEM_MAX - 4);
    if (c->n_items + n > ITEMS_IN_FLIGHT_MAX || c->n_requests + c->n_items + n + c->n_after > IN_FLIGHT_MAX) {
        rq->at_once = true;
        return err_set(e, ERR_BUSY, "too many requests are being worked on");
    }
    return 0;
}

/* n items, of which one of the two tells. */
static int begin(struct core *c, struct request *rq, size_t n, const json_t *items, const struct span *plain, struct err *e)
{
    struct batch *b;

    if (check(c, rq, n, e))
        return -1;
    b = calloc(1, sizeof *b + n * sizeof *b->answer);
    if (b && plain && !(b->plain = malloc(n * sizeof *plain))) {
        free(b);
        b = NULL;
    }
    if (!b)
        return err_set(e, ERR_BUSY, "the service is out of memory");
    if (plain)
        memcpy(b->plain, plain, n * sizeof *plain);
    b->rq = rq;
    b->items = items;
    b->window = WINDOW_FIRST;
    b->compromises = c->compromises;
    b->n = (unsigned)n;
    rq->items = b;
    c->n_items += b->n;
    fill(c, b);
    return 0;
}

int batch_begin(struct core *c, struct request *rq, struct json_reader *r, struct err *e)
{
    const json_t *items;

    return json_get_array(r, "items", BATCH_ITEMS_MAX, &items, e) || json_done(r, e) || begin(c, rq, json_array_size(items), items, NULL, e) ? -1 : 0;
}

int batch_begin_plain(struct core *c, struct request *rq, struct err *e)
{
    struct span plain[BATCH_ITEMS_MAX];
    size_t n;

    if (rq->body.len > rq->route->body_max || json_flat_list(request_text(rq), rq->body.len, "items", plain, BATCH_ITEMS_MAX, &n))
        return 1;
    return begin(c, rq, n, NULL, plain, e);
}
