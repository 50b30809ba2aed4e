/* Turns failures into struct kms_error. */
#include "client/problem.h"

#include <stdio.h>
#include <string.h>

#define PROBLEM_MAX (64u << 10)
#define PROBLEM_TYPE "urn:kmsd:problem:"

/* The first size-1 bytes, cut at a character. */
static void copy_cut(char *out, size_t size, const char *text)
{
    size_t n = strlen(text);

    if (n >= size)
        for (n = size - 1; n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80;)
            n--;
    memcpy(out, text, n);
    out[n] = '\0';
}

/* A local failure has a slug too: by its kind, or the code of what was wrong with an input. */
static void set_slug(struct kms_error *e, enum err_code code)
{
    const char *slug = "local";

    if (e->status == KMS_USAGE)
        slug = "usage";
    else if (e->status == KMS_UNREACHABLE)
        slug = "unreachable";
    else if (e->status == KMS_PENDING)
        slug = "pending";
    else if (code != ERR_NONE && code != ERR_INTERNAL)
        slug = err_slug(code);
    copy_cut(e->slug, sizeof(e->slug), slug);
}

int kms_fail(struct kms_error *e, enum kms_status status, const struct err *from)
{
    memset(e, 0, sizeof(*e));
    e->status = status;
    set_slug(e, from->code);
    copy_cut(e->detail, sizeof(e->detail), from->detail[0] ? from->detail : err_title(from->code));
    return -1;
}

int kms_fail_text(struct kms_error *e, enum kms_status status, const char *fmt, ...)
{
    va_list ap;

    memset(e, 0, sizeof(*e));
    e->status = status;
    set_slug(e, ERR_NONE);
    va_start(ap, fmt);
    vsnprintf(e->detail, sizeof(e->detail), fmt, ap);
    va_end(ap);
    return -1;
}

int kms_fail_pending(const struct kms_answer *a, struct kms_error *e)
{
    const char *id = json_string_value(json_object_get(a->json, "request_id"));

    kms_fail_text(e, KMS_PENDING, "the request waits for approval%s%s", a->location[0] ? ": " : "", a->location);
    e->http = a->http;
    copy_cut(e->request_id, sizeof(e->request_id), id ? id : a->request_id);
    return -1;
}

static void copy_member(char *out, size_t size, const json_t *problem, const char *name)
{
    const char *text = json_string_value(json_object_get(problem, name));

    if (text)
        copy_cut(out, size, text);
}

static void read_problem(struct kms_error *e, const json_t *problem)
{
    const char *type = json_string_value(json_object_get(problem, "type"));
    const json_t *wait = json_object_get(problem, "retry_after");

    if (type && strncmp(type, PROBLEM_TYPE, strlen(PROBLEM_TYPE)) == 0)
        copy_cut(e->slug, sizeof(e->slug), type + strlen(PROBLEM_TYPE));
    copy_member(e->title, sizeof(e->title), problem, "title");
    copy_member(e->detail, sizeof(e->detail), problem, "detail");
    copy_member(e->rule, sizeof(e->rule), problem, "rule");
    copy_member(e->request_id, sizeof(e->request_id), problem, "request_id");
    if (!e->retry_after && json_is_integer(wait) && json_integer_value(wait) > 0 && json_integer_value(wait) <= 86400)
        e->retry_after = (unsigned)json_integer_value(wait);
}

void problem_from_item(struct kms_error *e, const json_t *problem)
{
    int64_t status = json_integer_value(json_object_get(problem, "status"));

    memset(e, 0, sizeof(*e));
    e->http = status >= 400 && status <= 599 ? (unsigned)status : 500;
    e->status = e->http == 503 ? KMS_UNREACHABLE : KMS_REFUSED;
    read_problem(e, problem);
    if (!e->title[0])
        snprintf(e->title, sizeof(e->title), "The service refused with status %u", e->http);
}

int problem_from_answer(struct kms_error *e, const struct http_response *rs)
{
    struct err why = {0};
    JSON_AUTO *problem = NULL;

    memset(e, 0, sizeof(*e));
    e->status = rs->status == 503 ? KMS_UNREACHABLE : KMS_REFUSED;
    e->http = rs->status;
    e->retry_after = rs->retry_after;
    if (strncmp(rs->content_type, "application/problem+json", 24) == 0)
        problem = json_read_object(rs->body.data, rs->body.len, PROBLEM_MAX, &why);
    if (problem)
        read_problem(e, problem);
    if (!e->request_id[0])
        copy_cut(e->request_id, sizeof(e->request_id), rs->request_id);
    if (!e->title[0])
        snprintf(e->title, sizeof(e->title), "The service answered with HTTP status %u", rs->status);
    if (!problem)
        snprintf(e->detail, sizeof(e->detail),
                 "The answer is no problem document (application/problem+json), so it may not come from kmsd: check the address.");
    return -1;
}
