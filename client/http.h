/* One HTTPS exchange over libcurl: TLS 1.3, a client certificate, one CA file, everything bounded. */
#ifndef KMS_CLIENT_HTTP_H
#define KMS_CLIENT_HTTP_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define HTTP_HEADERS_MAX 8
#define HTTP_VALUE_MAX 256

struct http_tls {
    const char *cacert, *cert, *key; /* PEM files; borrowed */
};
struct http;
struct http *http_new(const struct http_tls *tls, struct err *e);
void http_free(struct http *h);

struct http_request {
    const char *method, *base, *target;      /* URL = base + target */
    const char *headers[HTTP_HEADERS_MAX];   /* "Name: value", up to the first NULL */
    struct span body;                        /* sent for every method but GET */
    int64_t timeout_ms;
};
struct http_response {
    unsigned status;
    unsigned retry_after;                    /* seconds, 0 = none */
    char request_id[HTTP_VALUE_MAX], location[HTTP_VALUE_MAX], content_type[HTTP_VALUE_MAX];
    struct buf body;                         /* its max bounds the answer */
};
enum http_result {
    HTTP_ANSWERED,
    HTTP_UNREACHABLE,  /* the request was certainly not accepted */
    HTTP_LOST,         /* it may have been; repeat under the same Idempotency-Key */
    HTTP_UNUSABLE      /* an answer that cannot be accepted (too long, malformed), or certificate files that cannot be used */
};
/* A repetition reuses the connection where there is one. e says what went wrong unless HTTP_ANSWERED. */
enum http_result http_exchange(struct http *h, const struct http_request *rq, struct http_response *rs, struct err *e);

#endif
