/* One HTTP request as the core keeps it, from its frame to its reply. */
#include <stdlib.h>
#include <string.h>

#include "base/enc.h"
#include "base/num.h"
#include "kmsd/core/internal.h"

static struct span keep(struct buf *b, struct span what)
{
    size_t at = b->len;

    buf_put(b, what.data, what.len);
    buf_putc(b, '\0');
    return span_of(b->data + at, what.len);
}

/* One piece of memory for all that may be long: it must not move once a part of it is known. */
static int take(struct request *rq, const struct frame *f)
{
    struct span cert = f->field[TAG_CERT], body = f->field[TAG_BODY], signature = f->field[TAG_KMS_SIGNATURE], target = f->field[TAG_TARGET];
    const uint8_t *mark = target.len > TARGET_MAX ? NULL : memchr(target.data, '?', target.len);
    size_t path = mark ? (size_t)(mark - target.data) : target.len;

    rq->brought = BUF_INIT(FRAME_MAX + TARGET_MAX + 8);
    if (target.len > TARGET_MAX)
        target.len = path = 0; /* read_fields says so */
    if (!buf_room(&rq->brought, cert.len + body.len + signature.len + target.len + path + 5))
        return -1;
    rq->cert = keep(&rq->brought, cert);
    rq->body = keep(&rq->brought, body);
    rq->kms_signature = keep(&rq->brought, signature);
    rq->target = (const char *)keep(&rq->brought, target).data;
    rq->path = (const char *)keep(&rq->brought, span_of(target.data, path)).data;
    rq->query = mark ? rq->target + path + 1 : "";
    return 0;
}

static int idem_alphabet(const char *text)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:-";

    return text[strspn(text, allowed)] ? -1 : 0;
}

static int read_fields(struct request *rq, const struct frame *f, struct err *e)
{
    if (frame_text(f, TAG_METHOD, rq->method, sizeof rq->method))
        return err_set(e, ERR_METHOD_NOT_ALLOWED, "the request method is not one this service knows");
    if (f->field[TAG_TARGET].len > TARGET_MAX)
        return err_set(e, ERR_BAD_REQUEST, "the request target is longer than %d bytes", TARGET_MAX);
    if (frame_text(f, TAG_SOURCE, rq->src, sizeof rq->src))
        return err_set(e, ERR_INTERNAL, "the front sent no usable peer address");
    if (frame_has(f, TAG_IDEMPOTENCY) &&
        (frame_text(f, TAG_IDEMPOTENCY, rq->idem, sizeof rq->idem) || !rq->idem[0] || idem_alphabet(rq->idem))) {
        rq->idem[0] = '\0';
        return err_set(e, ERR_BAD_REQUEST, "Idempotency-Key must be 1 to %d characters of A-Z a-z 0-9 . _ : -", IDEM_MAX);
    }
    if (frame_has(f, TAG_CONTENT_TYPE) && frame_text(f, TAG_CONTENT_TYPE, rq->content_type, sizeof rq->content_type))
        return err_set(e, ERR_UNSUPPORTED_MEDIA, "the Content-Type is too long");
    return 0;
}

static void enter(struct core *c, struct request *rq)
{
    rq->next = c->requests;
    if (c->requests)
        c->requests->prev = rq;
    c->requests = rq;
}

struct request *request_new(struct core *c, enum child_role door, const struct frame *f, struct err *e)
{
    uint8_t id[16];
    struct request *rq = calloc(1, sizeof *rq);

    if (!rq)
        return NULL;
    rq->door = door;
    rq->id = f->id;
    rq->front_epoch = c->front[door == CHILD_FRONT_ADMIN].epoch;
    rq->target = rq->path = rq->query = "";
    rq->arrived = c->clock.boot;
    c->io.random(c->io.ctx, id, sizeof id);
    hex_encode(id, sizeof id, rq->req);
    if (take(rq, f))
        err_set(e, ERR_BUSY, "the service is out of memory");
    else
        (void)read_fields(rq, f, e);
    certs_name(c, rq->cert, rq->cred);
    sha256_hex(rq->body.data, rq->body.len, rq->body_sha256);
    enter(c, rq);
    c->n_requests++;
    return rq;
}

struct request *request_item(struct core *c, struct request *rq, unsigned n)
{
    uint8_t id[16];
    struct request *item = malloc(sizeof *item);

    if (!item)
        return NULL;
    *item = *rq;
    item->prev = item->next = NULL;
    item->json = item->evidence = NULL;
    item->brought = item->input = BUF_INIT(0);
    item->body = item->kms_signature = span_of(NULL, 0);
    item->query = "";
    item->items = NULL;
    item->batch = rq->items;
    item->index = n;
    c->io.random(c->io.ctx, id, sizeof id);
    hex_encode(id, sizeof id, item->req);
    enter(c, item);
    return item;
}

void request_free(struct core *c, struct request *rq)
{
    flight_end(c, rq);
    wait_leave(c, rq);
    batch_free(c, rq->items);
    if (rq->next)
        rq->next->prev = rq->prev;
    if (rq->prev)
        rq->prev->next = rq->next;
    else
        c->requests = rq->next;
    c->n_requests -= !rq->batch;
    buf_free(&rq->brought);
    buf_free(&rq->input);
    json_decref(rq->json);
    json_decref(rq->evidence);
    free(rq);
}

struct actor request_actor(const struct request *rq)
{
    return (struct actor){.name = rq->identity, .kind = rq->kind[0] ? rq->kind : "unknown", .cred = rq->cred, .method = "mtls"};
}

/* Calls each parameter "name=value" of the query in turn. */
static const char *query_next(const char **at, size_t *name_len, size_t *len)
{
    const char *start = *at, *eq;

    if (!*start)
        return NULL;
    *len = strcspn(start, "&");
    eq = memchr(start, '=', *len);
    *name_len = eq ? (size_t)(eq - start) : *len;
    *at = start + *len + (start[*len] == '&');
    return start;
}

char *request_text(const struct request *rq)
{
    return (char *)rq->brought.data + (rq->body.len ? rq->body.data - rq->brought.data : 0);
}

int request_json(struct request *rq, struct json_reader *r, struct err *e)
{
    if (!rq->json)
        rq->json = json_read_object(rq->body.data, rq->body.len, rq->route->body_max, e);
    return rq->json ? json_begin(r, rq->json, "", e) : -1;
}

int query_check(const struct request *rq, const char *const *known, struct err *e)
{
    const char *at = rq->query, *p;
    size_t name_len, len;
    unsigned seen = 0;

    while ((p = query_next(&at, &name_len, &len))) {
        unsigned n = 0;

        while (known[n] && (strlen(known[n]) != name_len || memcmp(known[n], p, name_len)))
            n++;
        if (!known[n] || name_len == len)
            return err_set(e, ERR_UNKNOWN_MEMBER, "query parameter %.*s is not one this route takes", (int)(name_len > 32 ? 32 : name_len), p);
        if (seen & (1u << n))
            return err_set(e, ERR_BAD_REQUEST, "query parameter %s stands twice", known[n]);
        seen |= 1u << n;
    }
    return 0;
}

int query_get(const struct request *rq, const char *name, char *out, size_t size)
{
    const char *at = rq->query, *p;
    size_t name_len, len;

    while ((p = query_next(&at, &name_len, &len))) {
        if (strlen(name) != name_len || memcmp(name, p, name_len) || name_len == len)
            continue;
        if (len - name_len - 1 >= size)
            return -1;
        memcpy(out, p + name_len + 1, len - name_len - 1);
        out[len - name_len - 1] = '\0';
        return 1;
    }
    return 0;
}

int query_page(const struct request *rq, unsigned *limit, char after[static NAME_MAX_LEN + 1], struct err *e)
{
    static const char *const known[] = {"limit", "after", NULL};
    char text[8];
    uint64_t n = 100;
    int got;

    if (query_check(rq, known, e))
        return -1;
    got = query_get(rq, "limit", text, sizeof text);
    if (got < 0 || (got && num_parse_u64(text, strlen(text), 1, PAGE_MAX, &n)))
        return err_set(e, ERR_BAD_REQUEST, "limit must be a number from 1 to %d", PAGE_MAX);
    *limit = (unsigned)n;
    after[0] = '\0';
    got = query_get(rq, "after", after, NAME_MAX_LEN + 1);
    return got < 0 || (got && name_check(after, "after", e)) ? err_set(e, ERR_BAD_REQUEST, "after must be a name, as `next` of the last page gave it") : 0;
}
