/* Fuzzes what kmsctl reads of a server: problems, signatures, other answers. A hostile server gets no crash, no text that is too long, and no signature accepted
 * that was not asked for. */
#include <stdlib.h>
#include <string.h>

#include "client/problem.h"

#include "client/sign.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int kms_call(struct kms *k, const struct kms_request *rq, struct kms_answer *out, struct kms_error *e)
{
    (void)k;
    (void)rq;
    (void)out;
    (void)e;
    abort();
}

void kms_answer_free(struct kms_answer *a)
{
    json_decref(a->json);
    buf_free(&a->body);
}

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void read_problem_of(struct span text, unsigned status)
{
    struct http_response rs = {.status = status, .content_type = "application/problem+json", .body = BUF_INIT(1 << 20)};
    struct kms_error e;

    buf_put(&rs.body, text.data, text.len);
    require(problem_from_answer(&e, &rs) == -1);
    require(memchr(e.detail, 0, sizeof e.detail) && memchr(e.title, 0, sizeof e.title) && memchr(e.slug, 0, sizeof e.slug));
    require(memchr(e.rule, 0, sizeof e.rule) && memchr(e.request_id, 0, sizeof e.request_id) && e.title[0]);
    buf_free(&rs.body);
}

static void read_signature(struct span text)
{
    struct kms_sign_request rq = {.key = "release", .app = "app", .channel = "main", .version = "1.0.0",
                                  .digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", .size = -1};
    struct err e = {0};
    JSON_AUTO *json = json_read_object(text.data, text.len, 1 << 20, &e);
    KMS_SIGNATURE_AUTO got = {0};

    if (!json)
        return;
    (void)!take_decision(json, &got, &e);
    if (take_answer(&rq, json, &got, &e))
        return;
    require(!strcmp(got.release.app, "app") && !strcmp(got.release.channel, "main") && !strcmp(got.release.version, "1.0.0"));
    require(strlen(got.hash) == SHA256_HEX - 1 && got.seq >= 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_problem_of(span_of(data, size), 403);
    read_problem_of(span_of(data, size), 503);
    read_signature(span_of(data, size));
    return 0;
}
