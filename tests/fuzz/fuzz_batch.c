/* Fuzzes what kms_sign_many makes of a service's answers: nothing counts as signed but what was asked for and answered so, nothing that was answered for
 * good is asked for again, no Idempotency-Key stands for two bodies, and the sum is that of the parts. Input: how many requests, one byte, and a line for
 * each exchange:
 *   {...     the answer
 *   NUMBER   refused as a whole with that status
 *   CODES    an item for each letter: s signed, o the signature of another one, b busy, r refused; after j, to the end of the line, JSON of the last one */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/call.h"
#include "client/problem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUESTS_MAX 12
#define CALLS_MAX 64
#define ROUNDS 3

/* What the service said last of a request. */
enum said { NOTHING, SIGNED, BUSY, REFUSED, ANYTHING };
static struct asked {
    struct kms_sign_request rq;
    char version[16], digest[SHA256_HEX];
    enum said said;
    int64_t seq;
} asked[REQUESTS_MAX];
static size_t n_asked;
static struct span answers;
static struct call_made {
    char key[KMS_HEADER_MAX], body[SHA256_HEX];
} made[CALLS_MAX];
static unsigned n_made;
static bool pending;
static int64_t seq;

static void require(bool holds)
{
    if (!holds)
        abort();
}

void kms_answer_free(struct kms_answer *a)
{
    json_decref(a->json);
    buf_free(&a->body);
}

int64_t kms_deadline(const struct kms *k, unsigned items)
{
    (void)k;
    require(items <= n_asked);
    return items;
}

int kms_pause(struct kms *k, unsigned n, int64_t deadline, const struct kms_error *why)
{
    (void)k;
    require(deadline > 0 && why->http == 503);
    return n < ROUNDS ? 0 : -1;
}

static void sign(struct buf *out, const struct asked *a)
{
    if (a->rq.dry_run)
        buf_printf(out, "{\"decision\":\"allow\",\"rule\":\"%s\"}", a->version);
    else
        buf_printf(out, "{\"digest\":{\"alg\":\"sha256\",\"hex\":\"%s\"},\"key\":\"k\",\"key_version\":1,\"record\":{\"hash\":\"%s\",\"seq\":%lld},"
                        "\"scheme\":\"digest\",\"signature\":\"AAAA\"}", a->digest, a->digest, (long long)++seq);
}

/* The item for the nth of those asked for; how much of the text it took. */
static size_t add_item(struct buf *out, struct span codes, struct asked *const *of, size_t n, size_t count)
{
    struct asked *a = of[n % count], *other = of[(n + 1) % count];

    buf_puts(out, n ? "," : "");
    a->said = REFUSED;
    switch (*codes.data) {
    case 's':
        sign(out, a);
        a->said = SIGNED;
        a->seq = a->rq.dry_run ? 0 : seq;
        return 1;
    case 'o':
        sign(out, other);
        a->said = other == a || (a->rq.dry_run && other->rq.dry_run) ? ANYTHING : REFUSED;
        return 1;
    case 'b':
        buf_puts(out, "{\"problem\":{\"status\":503}}");
        a->said = BUSY;
        return 1;
    case 'j':
        buf_put(out, codes.data + 1, codes.len - 1);
        a->said = ANYTHING;
        return codes.len;
    default:
        buf_puts(out, "{\"problem\":{\"status\":403,\"title\":\"no\"}}");
        return 1;
    }
}

/* How many of those asked for it has something for. */
static size_t make_answer(struct buf *out, struct span line, struct asked *const *of, size_t count)
{
    size_t n = 0;

    if (*line.data == '{') {
        buf_put(out, line.data, line.len);
        return 0;
    }
    buf_puts(out, "{\"items\":[");
    for (size_t at = 0; at < line.len; n++)
        at += add_item(out, span_of(line.data + at, line.len - at), of, n, count);
    buf_puts(out, "]}");
    return n;
}

/* NULL = it is no JSON. */
static json_t *answer(struct buf *out, struct span line, struct asked *const *of, size_t count, struct err *e)
{
    enum said before[REQUESTS_MAX];
    json_t *json;
    size_t given;

    for (size_t n = 0; n < count; n++)
        before[n] = of[n]->said;
    given = make_answer(out, line, of, count);
    json = json_read_object(out->data, out->len, out->max, e);
    for (size_t n = 0; n < count; n++)
        if (json_array_size(json_object_get(json, "items")) != count)
            of[n]->said = before[n]; /* not an item each: none counts */
        else if (n >= given)
            of[n]->said = ANYTHING;
    return json;
}

static void note_call(const struct kms_request *rq)
{
    struct call_made *m = &made[n_made];

    require(n_made < CALLS_MAX && rq->idempotency_key && strlen(rq->idempotency_key) <= 128 && strlen(rq->idempotency_key) < sizeof m->key);
    memcpy(m->key, rq->idempotency_key, strlen(rq->idempotency_key) + 1);
    sha256_hex(rq->body.data, rq->body.len, m->body);
    for (unsigned n = 0; n < n_made; n++)
        require(strcmp(made[n].key, m->key) || !strcmp(made[n].body, m->body));
    n_made++;
}

/* Those that the body asks for: in order, each once, and none that was answered for good. */
static size_t read_call(const struct kms_request *rq, struct asked *of[static REQUESTS_MAX])
{
    struct err e = {0};
    JSON_AUTO *body = json_read_object(rq->body.data, rq->body.len, 1 << 20, &e);
    const json_t *items = json_object_get(body, "items");
    size_t count = json_array_size(items);

    require(count && count <= n_asked && count == rq->items && !json_is_canonical(rq->body.data, rq->body.len));
    for (size_t n = 0; n < count; n++) {
        const char *version = json_string_value(json_object_get(json_array_get(items, n), "version"));
        struct asked *a = asked;

        while (a < asked + n_asked && strcmp(a->version, version))
            a++;
        require(a < asked + n_asked && (!n || a > of[n - 1]) && (a->said == NOTHING || a->said == BUSY || a->said == ANYTHING));
        of[n] = a;
    }
    return count;
}

static int refuse(struct span line, struct kms_answer *out, struct kms_error *e)
{
    struct http_response rs = {.status = 0};

    for (size_t n = 0; n < line.len && n < 3 && line.data[n] >= '0' && line.data[n] <= '9'; n++)
        rs.status = rs.status * 10 + (unsigned)(line.data[n] - '0');
    if (rs.status != 202)
        return problem_from_answer(e, &rs);
    pending = true;
    out->http = 202;
    return 0;
}

int kms_call(struct kms *k, const struct kms_request *rq, struct kms_answer *out, struct kms_error *e)
{
    const uint8_t *lf = answers.len ? memchr(answers.data, '\n', answers.len) : NULL;
    struct span line = span_of(answers.data, lf ? (size_t)(lf - answers.data) : answers.len);
    struct asked *of[REQUESTS_MAX];
    size_t count = read_call(rq, of);
    struct err why = {0};

    (void)k;
    note_call(rq);
    answers = lf ? span_of(lf + 1, answers.len - line.len - 1) : span_of(NULL, 0);
    *out = (struct kms_answer){.http = 200, .body = BUF_INIT(KMS_ANSWER_MAX)};
    if (!line.len)
        return kms_fail_text(e, KMS_UNREACHABLE, "no answer");
    if (*line.data >= '0' && *line.data <= '9')
        return refuse(line, out, e);
    out->json = answer(&out->body, line, of, count, &why);
    return out->json ? 0 : kms_fail(e, KMS_REFUSED, &why);
}

static void begin(size_t n)
{
    n_asked = n;
    n_made = 0;
    seq = 0;
    pending = false;
    memset(asked, 0, sizeof asked);
    for (size_t i = 0; i < n; i++) {
        struct asked *a = &asked[i];

        (void)snprintf(a->version, sizeof a->version, "1.0.%zu", i);
        sha256_hex(a->version, strlen(a->version), a->digest);
        a->rq = (struct kms_sign_request){.key = "k", .app = "a", .channel = "c", .version = a->version, .digest = a->digest, .size = -1, .dry_run = i % 5 == 4};
        if (i % 7 == 6)
            a->rq.digest = NULL; /* cannot be asked */
    }
}

static void check_result(const struct asked *a, const struct kms_sign_result *r)
{
    const struct kms_signature *s = &r->signature;
    bool done = r->error.status == KMS_DONE;

    require(memchr(r->error.detail, 0, sizeof r->error.detail) && memchr(r->error.title, 0, sizeof r->error.title));
    require(done || r->error.slug[0] || r->error.title[0]);
    require(r->error.status != KMS_PENDING || pending);
    require(done == (s->key[0] || s->rule[0] || s->dry_run));
    if (!a->rq.digest)
        require(r->error.status == KMS_USAGE && a->said == NOTHING);
    if (a->said != ANYTHING)
        require(done == (a->said == SIGNED) && (a->said != BUSY || (r->error.status == KMS_UNREACHABLE && r->error.http == 503)));
    if (a->said == REFUSED)
        require(r->error.status == KMS_REFUSED);
    if (!done)
        return;
    require(s->dry_run == a->rq.dry_run && (a->said != SIGNED || s->seq == a->seq));
    require(s->dry_run || (!strcmp(s->key, a->rq.key) && (s->block_len || s->envelope)));
    require(!s->envelope || (!strcmp(s->release.version, a->version) && !strcmp(s->release.sha256, a->digest)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct kms_sign_result out[REQUESTS_MAX];
    struct kms_sign_request rq[REQUESTS_MAX];
    const struct kms_error *first = NULL;
    struct kms_error e = {0};
    bool may_pass = true;
    int failed;

    if (!size)
        return 0;
    begin(*data % REQUESTS_MAX + 1);
    answers = span_of(data + 1, size - 1);
    for (size_t n = 0; n < n_asked; n++)
        rq[n] = asked[n].rq;
    failed = kms_sign_many(NULL, rq, n_asked, "key", out, &e);
    for (size_t n = 0; n < n_asked; n++) {
        check_result(&asked[n], &out[n]);
        if (out[n].error.status == KMS_DONE)
            continue;
        first = first ? first : &out[n].error;
        may_pass &= out[n].error.status == KMS_UNREACHABLE;
    }
    require(failed == (first ? -1 : 0));
    require(!first || (!strcmp(e.detail, first->detail) && e.http == first->http && e.status != KMS_DONE));
    require(!first || e.status != KMS_UNREACHABLE || may_pass);
    kms_sign_results_free(out, n_asked);
    return 0;
}
