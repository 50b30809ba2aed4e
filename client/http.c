/* HTTPS exchanges; the only file that includes libcurl. */
#include "client/http.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/num.h"
#include "client/sigpipe.h"

#define CONNECT_TIMEOUT_MS 10000L
#define RETRY_AFTER_MAX 86400u

struct http {
    CURL *curl;
    char message[CURL_ERROR_SIZE];
};

struct http *http_new(const struct http_tls *tls, struct err *e)
{
    struct http *h = calloc(1, sizeof(*h));
    CURL *c = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? curl_easy_init() : NULL;

    if (!h || !c) {
        free(h);
        err_set(e, ERR_INTERNAL, "libcurl does not start");
        return NULL;
    }
    h->curl = c;
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "https");
    curl_easy_setopt(c, CURLOPT_PROXY, "");
    curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_3);
    curl_easy_setopt(c, CURLOPT_CAINFO, tls->cacert);
    curl_easy_setopt(c, CURLOPT_CAPATH, NULL);
    curl_easy_setopt(c, CURLOPT_SSLCERT, tls->cert);
    curl_easy_setopt(c, CURLOPT_SSLKEY, tls->key);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
    curl_easy_setopt(c, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "libkms/" KMSD_VERSION);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, h->message);
    return h;
}

void http_free(struct http *h)
{
    struct sigpipe pipe;

    if (!h)
        return;
    sigpipe_hold(&pipe); /* closing writes TLS's close_notify */
    curl_easy_cleanup(h->curl);
    sigpipe_release(&pipe);
    free(h);
}

static size_t take_body(char *data, size_t size, size_t n, void *ctx)
{
    struct http_response *rs = ctx;

    buf_put(&rs->body, data, size * n);
    return buf_ok(&rs->body) ? 0 : size * n;
}

/* The value of a header line when it has that name; trimmed. */
static bool header_value(struct span line, const char *name, struct span *value)
{
    size_t n = strlen(name);

    if (line.len <= n || line.data[n] != ':' || strncasecmp((const char *)line.data, name, n) != 0)
        return false;
    *value = span_of(line.data + n + 1, line.len - n - 1);
    while (value->len && strchr(" \t\r\n", value->data[value->len - 1]))
        value->len--;
    while (value->len && (value->data[0] == ' ' || value->data[0] == '\t')) {
        value->data++;
        value->len--;
    }
    return true;
}

/* What is looked at of a header is ASCII; anything else in it is no text that could be printed or put into JSON. */
static void copy_value(char out[static HTTP_VALUE_MAX], struct span v)
{
    size_t n = v.len < HTTP_VALUE_MAX ? v.len : HTTP_VALUE_MAX - 1;

    for (size_t i = 0; i < n; i++)
        out[i] = v.data[i] >= 0x20 && v.data[i] < 0x7f ? (char)v.data[i] : '?';
    out[n] = '\0';
}

static size_t take_header(char *data, size_t size, size_t n, void *ctx)
{
    struct http_response *rs = ctx;
    struct span line = span_of(data, size * n), v;
    uint64_t seconds;

    if (line.len > 5 && memcmp(data, "HTTP/", 5) == 0)
        rs->request_id[0] = rs->location[0] = rs->content_type[0] = '\0';
    else if (header_value(line, "X-Request-Id", &v))
        copy_value(rs->request_id, v);
    else if (header_value(line, "Location", &v))
        copy_value(rs->location, v);
    else if (header_value(line, "Content-Type", &v))
        copy_value(rs->content_type, v);
    else if (header_value(line, "Retry-After", &v) && num_parse_u64((const char *)v.data, v.len, 0, RETRY_AFTER_MAX, &seconds) == 0)
        rs->retry_after = (unsigned)seconds;
    return line.len;
}

static struct curl_slist *make_headers(const struct http_request *rq)
{
    struct curl_slist *list = curl_slist_append(NULL, "Expect:");

    for (size_t i = 0; list && i < HTTP_HEADERS_MAX && rq->headers[i]; i++) {
        struct curl_slist *longer = curl_slist_append(list, rq->headers[i]);

        if (!longer)
            curl_slist_free_all(list);
        list = longer;
    }
    return list;
}

/* In TLS 1.3 a refused client certificate shows as an alert at the first read. */
static bool is_refusal(const char *message)
{
    return strstr(message, "alert") && !strstr(message, "alert internal error");
}

static enum http_result classify(CURLcode code, const char *message)
{
    switch ((int)code) {
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_PARTIAL_FILE:
        return HTTP_LOST;
    case CURLE_RECV_ERROR:
        return is_refusal(message) ? HTTP_UNREACHABLE : HTTP_LOST;
    case CURLE_WRITE_ERROR:
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_HTTP2:
    case CURLE_BAD_CONTENT_ENCODING:
    case CURLE_SSL_CERTPROBLEM: /* this and the next are files of ours: no service was asked */
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_UNSUPPORTED_PROTOCOL:
        return HTTP_UNUSABLE;
    default:
        return HTTP_UNREACHABLE;
    }
}

/* What the service found wrong with the certificate, from the name of its alert (RFC 8446, 6.2) in the library's words; those words where it is another one. */
static const char *certificate_refusal(const char *message)
{
    static const struct {
        const char *alert, *text;
    } table[] = {
        {"alert unknown ca", "it was not issued by a CA that the service trusts"},
        {"alert certificate expired", "it has expired, or is not valid yet"},
        {"alert unsupported certificate", "it is not one for clients"},
        {"alert certificate required", "none was shown"},
    };

    for (size_t n = 0; n < sizeof table / sizeof *table; n++)
        if (strstr(message, table[n].alert))
            return table[n].text;
    return message;
}

static enum http_result fail(CURLcode code, const struct http *h, const struct http_request *rq, const struct http_response *rs, struct err *e)
{
    const char *why = h->message[0] ? h->message : curl_easy_strerror(code);

    if (code == CURLE_WRITE_ERROR && rs->body.failed)
        err_set(e, ERR_TOO_LARGE, "%s sent an answer longer than %zu bytes", rq->base, rs->body.max);
    else if (code == CURLE_RECV_ERROR && is_refusal(why))
        err_set(e, ERR_INTERNAL, "%s refused the client certificate: %s", rq->base, certificate_refusal(why));
    else if (code == CURLE_RECV_ERROR || code == CURLE_SEND_ERROR || code == CURLE_GOT_NOTHING)
        err_set(e, ERR_INTERNAL, "%s: the connection was lost (%s); when that persists, the service may refuse the client certificate", rq->base, why);
    else if (code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST)
        err_set(e, ERR_INTERNAL, "%s: %s; is the service running, and the address right?", rq->base, why);
    else if (code == CURLE_SSL_CERTPROBLEM)
        err_set(e, ERR_BAD_CERTIFICATE, "the client's certificate and key cannot be used (%s): both must be PEM files, the key without a passphrase and "
                                        "the one of the certificate", why);
    else if (code == CURLE_SSL_CACERT_BADFILE)
        err_set(e, ERR_BAD_CERTIFICATE, "the certificates of the service's CA cannot be used (%s): they must be a PEM file", why);
    else if (code == CURLE_PEER_FAILED_VERIFICATION)
        err_set(e, ERR_BAD_CERTIFICATE, "%s: %s; the CA's certificate must be the one of that service, and the address a name or number in its certificate",
                rq->base, why);
    else
        err_set(e, ERR_INTERNAL, "%s: %s", rq->base, why);
    return classify(code, why);
}

static void prepare(struct http *h, const struct http_request *rq, struct http_response *rs, const char *url, struct curl_slist *headers)
{
    CURL *c = h->curl;

    h->message[0] = '\0';
    buf_clear(&rs->body);
    rs->retry_after = 0;
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)rq->timeout_ms);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, rs);
    curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(c, CURLOPT_HEADERDATA, rs);
    if (strcmp(rq->method, "GET") == 0) {
        curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, NULL);
        curl_easy_setopt(c, CURLOPT_HTTPGET, 1L);
        return;
    }
    curl_easy_setopt(c, CURLOPT_POST, 1L);
    curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, rq->method);
    curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)rq->body.len);
    curl_easy_setopt(c, CURLOPT_POSTFIELDS, rq->body.len ? (const char *)rq->body.data : "");
}

enum http_result http_exchange(struct http *h, const struct http_request *rq, struct http_response *rs, struct err *e)
{
    BUF_AUTO url = BUF_INIT(8192);
    struct curl_slist *headers = make_headers(rq);
    enum http_result result = HTTP_ANSWERED;
    struct sigpipe pipe;
    CURLcode code;
    long status = 0;

    buf_printf(&url, "%s%s", rq->base, rq->target);
    if (buf_ok(&url) || !headers) {
        curl_slist_free_all(headers);
        err_set(e, ERR_INTERNAL, "the request is too long");
        return HTTP_UNREACHABLE;
    }
    prepare(h, rq, rs, buf_str(&url), headers);
    sigpipe_hold(&pipe);
    code = curl_easy_perform(h->curl);
    sigpipe_release(&pipe);
    if (code != CURLE_OK)
        result = fail(code, h, rq, rs, e);
    else
        curl_easy_getinfo(h->curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_setopt(h->curl, CURLOPT_HTTPHEADER, NULL);
    curl_slist_free_all(headers);
    rs->status = (unsigned)status;
    return result;
}
