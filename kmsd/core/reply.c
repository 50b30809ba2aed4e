/* Builds replies and hands them to the commit queue, which releases them when they may go. */
#include <stdlib.h>
#include <string.h>

#include "kmsd/core/internal.h"

#define FRAME_HEAD_ROOM 200 /* for what stands beside the body, as a rule */

static void send(struct core *c, struct request *rq, const struct reply_head *head, struct span body)
{
    struct buf frame = BUF_INIT(FRAME_MAX + 4096);
    size_t mark;

    metrics_answered(c, rq, head->status);
    buf_expect(&frame, body.len + FRAME_HEAD_ROOM);
    mark = frame_begin(&frame, FRAME_REPLY, rq->id);
    frame_put_u64(&frame, TAG_STATUS, head->status);
    frame_put_str(&frame, TAG_REQUEST_ID, rq->req);
    if (head->content_type)
        frame_put_str(&frame, TAG_CONTENT_TYPE, head->content_type);
    if (head->location)
        frame_put_str(&frame, TAG_LOCATION, head->location);
    if (head->link)
        frame_put_str(&frame, TAG_LINK, head->link);
    if (head->allow)
        frame_put_str(&frame, TAG_ALLOW, head->allow);
    if (head->retry_after)
        frame_put_u64(&frame, TAG_RETRY_AFTER, head->retry_after);
    frame_put(&frame, TAG_BODY, body);
    frame_end(&frame, mark);
    if (buf_ok(&frame)) {
        c->io.note(c->io.ctx, CORE_NOTE_ALARM, "reply", "a reply did not fit its frame");
        buf_clear(&frame);
        mark = frame_begin(&frame, FRAME_REPLY, rq->id);
        frame_put_u64(&frame, TAG_STATUS, 500);
        frame_put_str(&frame, TAG_REQUEST_ID, rq->req);
        frame_end(&frame, mark);
    }
    after_reply(c, rq, &frame);
    buf_free(&frame);
}

void reply(struct core *c, struct request *rq, const struct reply_head *head, struct span body)
{
    if (rq->batch) {
        metrics_answered(c, rq, head->status);
        batch_answer(c, rq, head->status, body);
        return;
    }
    if (!rq->answered)
        send(c, rq, head, body);
    request_free(c, rq);
}

void reply_accepted(struct core *c, struct request *rq, const char *location, json_t *body)
{
    BUF_AUTO text = BUF_INIT(4096);
    JSON_AUTO *owned = body;

    json_canonical(&text, owned);
    send(c, rq, &(struct reply_head){.status = 202, .content_type = "application/json", .location = location}, buf_span(&text));
    rq->answered = true;
}

void reply_json(struct core *c, struct request *rq, unsigned status, json_t *body)
{
    BUF_AUTO text = BUF_INIT(FRAME_MAX);
    JSON_AUTO *owned = body;

    json_canonical(&text, owned);
    if (!owned || buf_ok(&text)) {
        struct err e = {0};

        err_set(&e, ERR_INTERNAL, "the answer could not be built");
        reply_problem(c, rq, &e);
        return;
    }
    reply(c, rq, &(struct reply_head){.status = status, .content_type = "application/json"}, buf_span(&text));
}

json_t *problem_json(const struct err *e, const char *request_id)
{
    BUF_AUTO type = BUF_INIT(256), detail = BUF_INIT(4096);
    unsigned status = err_status(e->code), retry = e->retry_after ? e->retry_after : status == 503 ? 1 : 0;
    json_t *problem;

    buf_printf(&type, "urn:kmsd:problem:%s", err_slug(e->code));
    buf_printf(&detail, "%s%s%s", e->detail, e->detail[0] ? ". " : "", err_cure(e->code));
    problem = json_pack("{s:s, s:s, s:i, s:s, s:s}", "type", buf_str(&type), "title", err_title(e->code), "status", (int)status, "detail", buf_str(&detail),
                        "request_id", request_id);
    record_text(problem, "rule", e->rule);
    if (retry)
        json_object_set_new(problem, "retry_after", json_integer(retry));
    return problem;
}

void reply_problem(struct core *c, struct request *rq, const struct err *e)
{
    BUF_AUTO text = BUF_INIT(16384);
    JSON_AUTO *problem = problem_json(e, rq->req);
    unsigned retry = (unsigned)json_integer_value(json_object_get(problem, "retry_after"));

    c->metrics.refusals[e->code < ERR_COUNT ? e->code : ERR_INTERNAL]++;
    json_canonical(&text, problem);
    reply(c, rq, &(struct reply_head){.status = err_status(e->code), .content_type = "application/problem+json", .retry_after = retry,
                                      .allow = e->code == ERR_METHOD_NOT_ALLOWED && rq->allow[0] ? rq->allow : NULL}, buf_span(&text));
}

void reply_line(struct core *c, struct request *rq, const struct record_line *line, struct span payload)
{
    BUF_AUTO text = BUF_INIT(FRAME_MAX);
    struct err e = {0};
    unsigned status;

    if (!answer_put(c, line, payload, &status, &text)) {
        reply(c, rq, &(struct reply_head){.status = status, .content_type = "application/json"}, buf_span(&text));
        return;
    }
    err_set(&e, ERR_INTERNAL, "the recorded answer could not be rebuilt");
    reply_problem(c, rq, &e);
}

void reply_record(struct core *c, struct request *rq, struct span text)
{
    struct record_line line;
    struct err e = {0};

    if (record_line_read(text, &line, &e))
        reply_problem(c, rq, &e);
    else
        reply_line(c, rq, &line, span_of(NULL, 0));
}

static char *last_line(const struct core *c, size_t *len)
{
    const char *data = (const char *)c->pending.data;
    size_t end = c->pending.len - 1, start = end;

    while (start > 0 && data[start - 1] != '\n')
        start--;
    *len = end - start;
    return strndup(data + start, *len);
}

void reply_committed(struct core *c, struct request *rq)
{
    size_t len;
    char *line = last_line(c, &len);

    flight_end(c, rq);
    reply_record(c, rq, span_of(line, len));
    free(line);
    wake_waiters(c);
}

int commit_answer(struct core *c, struct request *rq, json_t *record, struct err *e)
{
    if (commit(c, record, e))
        return -1;
    reply_committed(c, rq);
    return 0;
}
