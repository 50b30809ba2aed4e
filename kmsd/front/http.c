/* HTTP requests: collected, handed to the core, answered with what it says. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/enc.h"
#include "base/fsutil.h"
#include "kmsd/front/front.h"

/* Every status is a fixed problem or comes from the core; both go out the same way. */
static enum MHD_Result respond(struct http_request *rq, struct reply *r, bool close)
{
    size_t len = 0;
    char *body = buf_steal(&r->body, &len);
    struct MHD_Response *response = body ? MHD_create_response_from_buffer(len, body, MHD_RESPMEM_MUST_FREE) : NULL;
    enum MHD_Result queued;

    if (!response) {
        free(body);
        return MHD_NO;
    }
    MHD_add_response_header(response, "Cache-Control", "no-store");
    if (r->content_type[0])
        MHD_add_response_header(response, "Content-Type", r->content_type);
    if (r->request_id[0])
        MHD_add_response_header(response, "X-Request-Id", r->request_id);
    if (r->location[0])
        MHD_add_response_header(response, "Location", r->location);
    if (r->link[0])
        MHD_add_response_header(response, "Link", r->link);
    if (r->status == 401) /* RFC 9110: it says what would do */
        MHD_add_response_header(response, "WWW-Authenticate", "Kms-Signature");
    if (r->allow[0])
        MHD_add_response_header(response, "Allow", r->allow);
    if (r->retry_after) {
        BUF_AUTO seconds = BUF_INIT(32);

        buf_printf(&seconds, "%llu", (unsigned long long)r->retry_after);
        MHD_add_response_header(response, "Retry-After", buf_str(&seconds));
    }
    if (close || drain_asked())
        MHD_add_response_header(response, "Connection", "close");
    if (rq->conn && !span_eq_str(headscan_part(&rq->conn->scan, HEADSCAN_METHOD), "HEAD")) /* to HEAD no body is sent */
        join_expect(rq->conn, len);
    queued = MHD_queue_response(rq->connection, r->status, response);
    MHD_destroy_response(response);
    return queued;
}

/* What the front refuses by itself. The texts are ours: nothing of the request is repeated. */
static enum MHD_Result refuse(struct http_request *rq, enum err_code code, const char *why)
{
    struct reply r = {.status = err_status(code), .body = BUF_INIT(4096), .content_type = "application/problem+json"};
    uint8_t id[8] = {0};
    char hex[17];
    enum MHD_Result result;

    if (random_bytes(id, sizeof id))
        id[0] = 0;
    hex_encode(id, sizeof id, hex);
    memcpy(r.request_id, "front-", 6);
    memcpy(r.request_id + 6, hex, sizeof hex);
    r.retry_after = r.status == 503 ? 1 : 0;
    buf_printf(&r.body, "{\"detail\":\"%s. %s\",\"request_id\":\"%s\",", why, err_cure(code), r.request_id);
    if (r.retry_after)
        buf_puts(&r.body, "\"retry_after\":1,");
    buf_printf(&r.body, "\"status\":%u,\"title\":\"%s\",\"type\":\"urn:kmsd:problem:%s\"}", r.status, err_title(code), err_slug(code));
    if (rq->conn && code != ERR_BUSY)
        core_refused(rq->conn, code);
    if (rq->conn)
        conn_phase(rq->conn, PHASE_ANSWER);
    result = respond(rq, &r, true);
    buf_free(&r.body);
    return result;
}

void http_hold(struct http_request *rq, size_t bytes)
{
    front.held += bytes - rq->held;
    rq->held = bytes;
}

/* A long body that would be too much is read, but not kept: the library answers whole requests only. */
static void take_body(struct http_request *rq, const char *data, size_t size)
{
    if (rq->crowded)
        return;
    buf_put(&rq->body, data, size);
    http_hold(rq, rq->body.len);
    if (rq->body.len <= BODY_SHORT || front.held <= HELD_MAX)
        return;
    rq->crowded = true;
    buf_free(&rq->body);
    http_hold(rq, 0);
}

void *http_target(void *cls, const char *uri, struct MHD_Connection *connection)
{
    struct http_request *rq = calloc(1, sizeof *rq);
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

    (void)cls;
    if (!rq)
        return NULL;
    rq->connection = connection;
    rq->conn = info ? info->socket_context : NULL;
    rq->target = strdup(uri);
    return rq;
}

static size_t body_max(void)
{
    return front.door == DOOR_ADMIN ? BODY_ADMIN_MAX : (size_t)front.settings.body_bytes;
}

/* Is what the library parsed the very request that the head reader let through, for the first time? */
static bool vouched(const struct http_request *rq, const char *method)
{
    const struct conn *c = rq->conn;

    if (!c || !c->verified || c->phase != PHASE_REQUEST || !c->open || c->begun)
        return false;
    if (c->scan.state == HEADSCAN_BAD)
        return true;
    return rq->target && span_eq_str(headscan_part(&c->scan, HEADSCAN_TARGET), rq->target) &&
           span_eq_str(headscan_part(&c->scan, HEADSCAN_METHOD), method);
}

static enum MHD_Result begin(struct http_request *rq, const char *method)
{
    const struct headscan *s;

    rq->started = true;
    rq->body = BUF_INIT(body_max());
    if (!vouched(rq, method))
        return refuse(rq, ERR_INTERNAL, "the request passed no check");
    rq->conn->begun = true;
    s = &rq->conn->scan;
    if (s->state == HEADSCAN_BAD)
        return refuse(rq, s->verdict, s->why);
    if (s->content_length > body_max()) {
        char why[96];

        (void)snprintf(why, sizeof why, "the body has %llu bytes, this door takes %zu", (unsigned long long)s->content_length, body_max());
        return refuse(rq, ERR_TOO_LARGE, why);
    }
    return MHD_YES;
}

static enum MHD_Result dispatch(struct http_request *rq)
{
    if (rq->conn->late)
        return refuse(rq, ERR_TIMEOUT, "the body did not arrive in time");
    if (rq->crowded)
        return refuse(rq, ERR_BUSY, "the door holds too many long requests and answers");
    if (buf_ok(&rq->body) || rq->body.len != rq->conn->scan.content_length)
        return refuse(rq, ERR_INTERNAL, "the body is not as long as its head says");
    if (core_send(rq))
        return refuse(rq, ERR_BUSY, "too many requests are being worked on");
    rq->sent = true;
    buf_free(&rq->body);
    http_hold(rq, 0);
    conn_phase(rq->conn, PHASE_WORK);
    MHD_suspend_connection(rq->connection);
    return MHD_YES;
}

enum MHD_Result http_handle(void *cls, struct MHD_Connection *connection, const char *url, const char *method, const char *version,
                            const char *upload, size_t *upload_size, void **req_cls)
{
    struct http_request *rq = *req_cls;

    (void)cls;
    (void)connection;
    (void)url;
    (void)version;
    if (!rq)
        return MHD_NO;
    if (!rq->started)
        return begin(rq, method);
    if (*upload_size) {
        take_body(rq, upload, *upload_size);
        *upload_size = 0;
        return MHD_YES;
    }
    if (!rq->sent)
        return dispatch(rq);
    if (!rq->answered)
        return MHD_YES;
    conn_phase(rq->conn, PHASE_ANSWER);
    return respond(rq, &rq->reply, false);
}

void http_completed(void *cls, struct MHD_Connection *connection, void **req_cls, enum MHD_RequestTerminationCode code)
{
    struct http_request *rq = *req_cls;

    (void)cls;
    (void)connection;
    (void)code;
    if (!rq)
        return;
    if (rq->sent && !rq->answered)
        core_forget(rq);
    if (rq->conn) {
        rq->conn->open = rq->conn->begun = false;
        rq->conn->served = true;
        conn_phase(rq->conn, PHASE_IDLE);
    }
    http_hold(rq, 0);
    buf_free(&rq->body);
    buf_free(&rq->reply.body);
    free(rq->target);
    free(rq);
    *req_cls = NULL;
}
