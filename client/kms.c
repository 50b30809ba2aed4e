/* A connection to kmsd: its options, and a call with its repetitions. */
#include "client/call.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/enc.h"
#include "base/fsutil.h"
#include "client/http.h"
#include "client/problem.h"
#include "client/sshsign.h"

#define ADDRESS_MAX 512
#define ATTEMPT_MAX_MS 30000
#define ITEM_MS 250        /* a slow token makes so few signatures */
#define BACKOFF_FIRST_MS 250
#define BACKOFF_MAX_MS 8000
#define IDEMPOTENCY_BYTES 16
#define IDEMPOTENCY_ALPHABET "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:-"

struct kms {
    struct kms_options o;
    const char *ssh_key;
    char base[2][ADDRESS_MAX]; /* by door, without a slash at the end; "" = not given */
    struct http *http;
};

/* One call on its way through its repetitions. */
struct call {
    struct kms *k;
    const struct kms_request *rq;
    const char *base;
    char idempotency[KMS_HEADER_MAX];
    int64_t deadline;
    unsigned attempt;
};
enum verdict { FINAL, AGAIN };

/* https://HOST[:PORT], nothing behind it. */
static int take_address(char out[static ADDRESS_MAX], const char *addr, struct kms_error *e)
{
    size_t n = addr ? strlen(addr) : 0;

    if (!n)
        return 0;
    if (addr[n - 1] == '/')
        n--;
    if (n < 9 || n >= ADDRESS_MAX || strncmp(addr, "https://", 8) != 0 || strcspn(addr + 8, "/?#@\\ \t\r\n") < n - 8)
        return kms_fail_text(e, KMS_USAGE, "'%s' is not an address such as https://kms.example:8443", addr);
    memcpy(out, addr, n);
    out[n] = '\0';
    return 0;
}

static int check_file(const char *path, const char *what, struct kms_error *e)
{
    if (!path)
        return kms_fail_text(e, KMS_USAGE, "no file is given for %s", what);
    return access(path, R_OK) ? kms_fail_text(e, KMS_USAGE, "%s: %s: %s", what, path, strerror(errno)) : 0;
}

static int check_options(const struct kms_options *o, struct kms_error *e)
{
    if (o->timeout < 1 || o->timeout > KMS_TIMEOUT_MAX || o->retries > KMS_RETRIES_MAX)
        return kms_fail_text(e, KMS_USAGE, "the timeout is 1 to %u seconds, with at most %u repetitions", KMS_TIMEOUT_MAX, KMS_RETRIES_MAX);
    return check_file(o->cacert, "the certificates to trust", e) || check_file(o->cert, "the client certificate", e) ||
                   check_file(o->key, "the client's private key", e)
               ? -1
               : 0;
}

struct kms *kms_open(const struct kms_options *o, struct kms_error *e)
{
    struct http_tls tls = {.cacert = o->cacert, .cert = o->cert, .key = o->key};
    struct err why = {0};
    KMS_AUTO *k = calloc(1, sizeof(*k));
    struct kms *done = k;

    if (!k)
        return kms_fail_text(e, KMS_REFUSED, "out of memory"), NULL;
    k->o = *o;
    if (check_options(o, e) || take_address(k->base[KMS_DOOR_CI], o->addr, e))
        return NULL;
    k->http = http_new(&tls, &why);
    if (!k->http)
        return kms_fail(e, KMS_REFUSED, &why), NULL;
    k = NULL;
    return done;
}

int kms_administer(struct kms *k, const char *admin_addr, const char *ssh_key, struct kms_error *e)
{
    k->ssh_key = ssh_key;
    return take_address(k->base[KMS_DOOR_ADMIN], admin_addr, e);
}

void kms_close(struct kms **k)
{
    if (!k || !*k)
        return;
    http_free((*k)->http);
    free(*k);
    *k = NULL;
}

void kms_answer_free(struct kms_answer *a)
{
    buf_free(&a->body);
    json_decref(a->json);
    memset(a, 0, sizeof(*a));
}

static const char *door_base(const struct kms *k, enum kms_door door)
{
    if (door == KMS_DOOR_ANY)
        door = k->base[KMS_DOOR_CI][0] ? KMS_DOOR_CI : KMS_DOOR_ADMIN;
    return k->base[door];
}

static void notice(const struct call *c, const char *text)
{
    if (c->k->o.notice)
        c->k->o.notice(c->k->o.notice_ctx, text);
}

/* One exchange; every header of the request that does not depend on its kind is set here. */
static enum http_result exchange(const struct call *c, struct http_request *rq, struct http_response *rs, struct err *e)
{
    int64_t left = (c->deadline - clock_boot_us()) / 1000, most;

    if (left <= 0) {
        err_set(e, ERR_TIMEOUT, "%s: no answer within %u s", c->base, c->k->o.timeout);
        return HTTP_UNREACHABLE;
    }
    rq->base = c->base;
    most = ATTEMPT_MAX_MS + (int64_t)c->rq->items * ITEM_MS;
    rq->timeout_ms = left < most ? left : most;
    return http_exchange(c->k->http, rq, rs, e);
}

/* Is it worth repeating? A service that is not there at all is reported at once; one that was there a moment ago may be restarting. */
static enum verdict failed(const struct call *c, enum http_result result, const struct err *why, struct kms_error *e)
{
    kms_fail(e, result == HTTP_UNUSABLE ? KMS_REFUSED : KMS_UNREACHABLE, why);
    return result == HTTP_LOST || (result == HTTP_UNREACHABLE && c->attempt > 0) ? AGAIN : FINAL;
}

static enum verdict refused(const struct http_response *rs, struct kms_error *e)
{
    problem_from_answer(e, rs);
    return rs->status == 503 ? AGAIN : FINAL;
}

static int is_json(const struct http_response *rs)
{
    return strncmp(rs->content_type, "application/json", 16) == 0;
}

/* POST /v1/nonce: instance and nonce into the JSON object *out. */
static enum verdict fetch_nonce(const struct call *c, json_t **out, struct kms_error *e)
{
    struct http_request rq = {.method = "POST", .target = "/v1/nonce", .headers = {"Accept: application/json", "Content-Type:"}};
    BUF_AUTO body = BUF_INIT(64 << 10);
    struct http_response rs = {.body = body};
    struct err why = {0};
    enum http_result result = exchange(c, &rq, &rs, &why);
    enum verdict v = FINAL;

    body = rs.body;
    if (result != HTTP_ANSWERED)
        return failed(c, result, &why, e);
    if (rs.status != 200)
        v = refused(&rs, e);
    else if (!is_json(&rs) || !(*out = json_read_object(rs.body.data, rs.body.len, rs.body.max, &why)))
        kms_fail_text(e, KMS_REFUSED, "the service's answer to POST /v1/nonce is not usable: %s", why.detail);
    return v;
}

/* Fetches a nonce and signs the request; header receives "Kms-Signature: …". */
static enum verdict sign_request(const struct call *c, struct buf *header, bool *ok, struct kms_error *e)
{
    JSON_AUTO *nonce = NULL;
    BUF_AUTO message = BUF_INIT(4096);
    struct json_reader r;
    struct err why = {0};
    const char *instance, *text;
    int64_t expires;
    enum verdict v = fetch_nonce(c, &nonce, e);

    if (!nonce)
        return v;
    if (json_begin(&r, nonce, "", &why) || json_get_str(&r, "instance", 128, &instance, &why) || json_get_str(&r, "nonce", 64, &text, &why) ||
        json_get_int(&r, "expires_in", 1, 86400, &expires, &why) ||
        sshsign_message(instance, text, c->rq->method, c->rq->target, c->rq->body, &message, &why))
        return kms_fail(e, KMS_REFUSED, &why), FINAL;
    buf_puts(header, "Kms-Signature: ");
    if (sshsign_sign(c->k->ssh_key, buf_span(&message), header, &why))
        return kms_fail(e, KMS_REFUSED, &why), FINAL;
    *ok = true;
    return FINAL;
}

static int take_answer(const struct kms_request *rq, const struct http_response *rs, struct kms_answer *out, struct kms_error *e)
{
    struct err why = {0};

    if (!rq->plain && !is_json(rs))
        return kms_fail_text(e, KMS_REFUSED, "%s %s: the answer is no JSON (Content-Type '%s')", rq->method, rq->target, rs->content_type);
    out->http = rs->status;
    snprintf(out->request_id, sizeof(out->request_id), "%s", rs->request_id);
    snprintf(out->location, sizeof(out->location), "%s", rs->location);
    if (rq->plain)
        return 0;
    out->json = json_read_object(out->body.data, out->body.len, out->body.max, &why);
    if (out->json)
        return 0;
    err_context(&why, "%s %s: the answer is not usable", rq->method, rq->target);
    return kms_fail(e, KMS_REFUSED, &why);
}

static enum verdict attempt(const struct call *c, struct kms_answer *out, bool *ok, struct kms_error *e)
{
    BUF_AUTO ssh = BUF_INIT(SSHSIGN_HEADER_MAX), idem = BUF_INIT(512), type = BUF_INIT(512);
    struct http_request rq = {.method = c->rq->method, .target = c->rq->target, .body = c->rq->body};
    struct http_response rs = {.body = out->body};
    struct err why = {0};
    enum http_result result;
    bool is_signed = !c->rq->ssh_signed;
    size_t n = 0;

    if (!is_signed) {
        enum verdict v = sign_request(c, &ssh, &is_signed, e);

        if (!is_signed)
            return v;
        rq.headers[n++] = buf_str(&ssh);
    }
    rq.headers[n++] = c->rq->plain ? "Accept: */*" : "Accept: application/json, application/problem+json";
    if (strcmp(c->rq->method, "GET") != 0) {
        buf_printf(&idem, "Idempotency-Key: %s", c->idempotency);
        buf_printf(&type, "Content-Type: %s", c->rq->content_type ? c->rq->content_type : "application/json");
        rq.headers[n++] = buf_str(&idem);
        rq.headers[n++] = buf_str(&type);
    }
    result = exchange(c, &rq, &rs, &why);
    out->body = rs.body;
    if (result != HTTP_ANSWERED)
        return failed(c, result, &why, e);
    if (rs.status < 200 || rs.status > 299)
        return refused(&rs, e);
    *ok = take_answer(c->rq, &rs, out, e) == 0;
    return FINAL;
}

/* Sleeps before the next attempt; -1 when the time would be over by then. */
static int wait_before_next(const struct call *c, const struct kms_error *e)
{
    unsigned shift = c->attempt < 5 ? c->attempt : 5;
    int64_t ms = e->retry_after ? (int64_t)e->retry_after * 1000 : (int64_t)BACKOFF_FIRST_MS << shift;
    uint8_t jitter = 0;
    char text[160];

    if (random_bytes(&jitter, 1) == 0)
        ms += ms * jitter / 1024;
    if (!e->retry_after && ms > BACKOFF_MAX_MS)
        ms = BACKOFF_MAX_MS;
    if (clock_boot_us() + ms * 1000 >= c->deadline)
        return -1;
    snprintf(text, sizeof(text), "%s; trying again in %lld.%lld s", e->http ? e->slug : "no answer", (long long)(ms / 1000),
             (long long)(ms % 1000 / 100));
    notice(c, text);
    struct timespec left = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
    while (nanosleep(&left, &left) && errno == EINTR)
        ;
    return 0;
}

int kms_pause(struct kms *k, unsigned n, int64_t deadline, const struct kms_error *why)
{
    return n < k->o.retries ? wait_before_next(&(struct call){.k = k, .attempt = n, .deadline = deadline}, why) : -1;
}

int64_t kms_deadline(const struct kms *k, unsigned items)
{
    return clock_boot_us() + (int64_t)k->o.timeout * TIME_SECOND + (int64_t)items * ITEM_MS * 1000;
}

static int begin(struct call *c, struct kms_error *e)
{
    uint8_t random[IDEMPOTENCY_BYTES];
    const char *given = c->rq->idempotency_key;

    if (!c->base[0])
        return kms_fail_text(e, KMS_USAGE, c->rq->door == KMS_DOOR_CI
                                               ? "the address of the service is not given (--addr or KMS_ADDR)"
                                               : "the address of the administration door is not given (--admin-addr or KMS_ADMIN_ADDR)");
    if (c->rq->ssh_signed && !c->k->ssh_key)
        return kms_fail_text(e, KMS_USAGE, "this change needs your SSH signature: give the key file with --ssh-key or KMS_SSH_KEY");
    if (given && (!given[0] || strlen(given) > 128 || strspn(given, IDEMPOTENCY_ALPHABET) != strlen(given)))
        return kms_fail_text(e, KMS_USAGE, "an idempotency key has 1 to 128 characters of [A-Za-z0-9._:-]");
    if (given)
        return snprintf(c->idempotency, sizeof(c->idempotency), "%s", given), 0;
    if (random_bytes(random, sizeof(random)))
        return kms_fail_text(e, KMS_REFUSED, "the system gives no random numbers");
    hex_encode(random, sizeof(random), c->idempotency);
    return 0;
}

int kms_call(struct kms *k, const struct kms_request *rq, struct kms_answer *out, struct kms_error *e)
{
    struct call c = {.k = k, .rq = rq, .base = door_base(k, rq->door)};
    bool ok = false;

    memset(out, 0, sizeof(*out));
    out->body = BUF_INIT(KMS_ANSWER_MAX);
    if (begin(&c, e))
        return -1;
    c.deadline = kms_deadline(k, rq->items);
    while (attempt(&c, out, &ok, e) == AGAIN && c.attempt < k->o.retries && wait_before_next(&c, e) == 0)
        c.attempt++;
    return ok ? 0 : -1;
}
