/* Checks request heads byte by byte; whatever two readers could understand differently is refused. */
#include "kmsd/front/headscan.h"

#include <string.h>
#include <strings.h>

#include "base/num.h"

#define TOKEN "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define BODY_LENGTH_MAX (UINT64_C(1) << 40)

/* Fields that must not stand twice. */
static const char *const SINGLE[HEADSCAN_PARTS] = {
    [HEADSCAN_HOST] = "host",
    [HEADSCAN_CONTENT_LENGTH] = "content-length",
    [HEADSCAN_CONTENT_TYPE] = "content-type",
    [HEADSCAN_IDEMPOTENCY_KEY] = "idempotency-key",
    [HEADSCAN_KMS_SIGNATURE] = "kms-signature",
    [HEADSCAN_EXPECT] = "expect",
    [HEADSCAN_CONNECTION] = "connection",
    [HEADSCAN_AUTHORIZATION] = "authorization",
};

static int bad(struct headscan *s, enum err_code verdict, const char *why)
{
    s->state = HEADSCAN_BAD;
    s->verdict = verdict;
    s->why = why;
    return -1;
}

static bool all_in(struct span text, const char *set)
{
    for (size_t n = 0; n < text.len; n++)
        if (!text.data[n] || !strchr(set, text.data[n]))
            return false;
    return text.len > 0;
}

static void keep(struct headscan *s, enum headscan_part part, struct span value)
{
    s->part[part].at = (uint16_t)(value.data - s->head);
    s->part[part].len = (uint16_t)value.len;
    s->part[part].present = true;
}

static bool is_hex(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* Every % begins an escape, and none of them is %00. */
static bool escapes_ok(struct span t)
{
    for (size_t n = 0; n < t.len; n++)
        if (t.data[n] == '%' && (t.len - n < 3 || !is_hex(t.data[n + 1]) || !is_hex(t.data[n + 2]) || !memcmp(t.data + n, "%00", 3)))
            return false;
    return true;
}

/* "." or "..", with %2e read as the dot it stands for. */
static bool is_dots(struct span segment)
{
    unsigned dots = 0;

    for (size_t n = 0; n < segment.len; dots++) {
        bool escaped = segment.len - n >= 3 && !strncasecmp((const char *)segment.data + n, "%2e", 3);

        if (!escaped && segment.data[n] != '.')
            return false;
        n += escaped ? 3 : 1;
    }
    return dots == 1 || dots == 2;
}

/* No dot segments, and none empty but the last. The path begins with /. */
static bool segments_ok(struct span path)
{
    while (path.len) {
        struct span segment = span_of(path.data + 1, path.len - 1);
        const uint8_t *slash = memchr(segment.data, '/', segment.len);

        if (slash)
            segment.len = (size_t)(slash - segment.data);
        if (is_dots(segment) || (slash && !segment.len))
            return false;
        path = span_of(path.data + 1 + segment.len, path.len - 1 - segment.len);
    }
    return true;
}

static int check_target(struct headscan *s, struct span t)
{
    struct span path = t;
    const uint8_t *mark = memchr(t.data, '?', t.len);
    unsigned parameters = mark ? 1 : 0;

    if (mark)
        path.len = (size_t)(mark - t.data);
    if (!t.len || t.data[0] != '/' || t.len > HEAD_TARGET_MAX)
        return bad(s, ERR_BAD_REQUEST, "the request target must begin with / and have at most 2048 bytes");
    for (size_t n = 0; n < t.len; n++) {
        if (t.data[n] <= 0x20 || t.data[n] >= 0x7f || t.data[n] == '#')
            return bad(s, ERR_BAD_REQUEST, "the request target has a character that does not belong there");
        parameters += mark && t.data + n > mark && t.data[n] == '&';
    }
    if (parameters > HEAD_PARAMETERS_MAX)
        return bad(s, ERR_BAD_REQUEST, "the query has more than 64 parameters");
    if (!escapes_ok(t) || !segments_ok(path) || memchr(path.data, '\\', path.len))
        return bad(s, ERR_BAD_REQUEST, "the request target has an empty or dot segment, a backslash, %00 or a broken escape");
    keep(s, HEADSCAN_TARGET, t);
    return 0;
}

static int check_request_line(struct headscan *s, struct span line)
{
    const uint8_t *first = memchr(line.data, ' ', line.len);
    size_t method = first ? (size_t)(first - line.data) : 0;
    static const char version[] = " HTTP/1.1";
    size_t v = sizeof version - 1;

    if (!method || method > 15 || !all_in(span_of(line.data, method), TOKEN) || line.len < method + 1 + v ||
        memcmp(line.data + line.len - v, version, v))
        return bad(s, ERR_BAD_REQUEST, "the request line is not METHOD TARGET HTTP/1.1");
    keep(s, HEADSCAN_METHOD, span_of(line.data, method));
    return check_target(s, span_of(line.data + method + 1, line.len - method - 1 - v));
}

static bool is(struct span name, const char *lower)
{
    return name.len == strlen(lower) && !strncasecmp((const char *)name.data, lower, name.len);
}

static struct span trim(struct span v)
{
    while (v.len && (v.data[0] == ' ' || v.data[0] == '\t')) {
        v.data++;
        v.len--;
    }
    while (v.len && (v.data[v.len - 1] == ' ' || v.data[v.len - 1] == '\t'))
        v.len--;
    return v;
}

static int keep_field(struct headscan *s, struct span name, struct span value)
{
    for (unsigned n = 0; n < HEADSCAN_PARTS; n++) {
        if (!SINGLE[n] || !is(name, SINGLE[n]))
            continue;
        if (s->part[n].present)
            return bad(s, ERR_BAD_REQUEST, "a header field that may stand once stands twice");
        keep(s, (enum headscan_part)n, value);
    }
    return 0;
}

static int check_field(struct headscan *s, struct span line)
{
    const uint8_t *colon = memchr(line.data, ':', line.len);
    struct span name = span_of(line.data, colon ? (size_t)(colon - line.data) : 0), value;

    if (!all_in(name, TOKEN))
        return bad(s, ERR_BAD_REQUEST, "a header line is not NAME: VALUE (no space before the colon, no folded lines)");
    value = trim(span_of(colon + 1, line.len - name.len - 1));
    for (size_t n = 0; n < value.len; n++)
        if ((value.data[n] < 0x20 && value.data[n] != '\t') || value.data[n] >= 0x7f)
            return bad(s, ERR_BAD_REQUEST, "a header value has a character outside printable ASCII");
    if (keep_field(s, name, value))
        return -1;
    if (is(name, "transfer-encoding"))
        return bad(s, ERR_LENGTH_REQUIRED, "Transfer-Encoding is not accepted");
    if (is(name, "upgrade") || is(name, "trailer"))
        return bad(s, ERR_BAD_REQUEST, "Upgrade and Trailer are not accepted");
    if (is(name, "content-encoding") && !is(value, "identity"))
        return bad(s, ERR_UNSUPPORTED_MEDIA, "Content-Encoding is not accepted: send the body as it is");
    if (is(name, "content-length") && num_parse_u64((const char *)value.data, value.len, 0, BODY_LENGTH_MAX, &s->content_length))
        return bad(s, ERR_BAD_REQUEST, "Content-Length must be one decimal number");
    return 0;
}

/* The head without its last empty line: CRLF between lines, and nothing else that could be a line end. */
static int check_head(struct headscan *s)
{
    struct span rest = span_of(s->head, s->len - 2);
    unsigned fields = 0;

    s->content_length = 0;
    memset(s->part, 0, sizeof s->part);
    while (rest.len) {
        const uint8_t *lf = memchr(rest.data, '\n', rest.len);
        size_t n = lf ? (size_t)(lf - rest.data) : 0;

        if (!n || rest.data[n - 1] != '\r' || memchr(rest.data, '\r', n - 1) || memchr(rest.data, '\0', n))
            return bad(s, ERR_BAD_REQUEST, "lines must end with CRLF and hold no other line ends or NUL");
        if (fields++ ? check_field(s, span_of(rest.data, n - 1)) : check_request_line(s, span_of(rest.data, n - 1)))
            return -1;
        if (fields > HEAD_FIELDS_MAX + 1)
            return bad(s, ERR_HEADER_TOO_LARGE, "more than 64 header fields");
        rest = span_of(rest.data + n + 1, rest.len - n - 1);
    }
    if (!s->part[HEADSCAN_HOST].present)
        return bad(s, ERR_BAD_REQUEST, "the Host header is missing");
    return 0;
}

/* Is the head complete? An empty line after a bare LF ends it too: check_head then refuses it, instead of waiting for ever. */
static bool complete(const struct headscan *s)
{
    if (s->len >= 2 && !memcmp(s->head + s->len - 2, "\n\n", 2))
        return true;
    return s->len >= 4 && !memcmp(s->head + s->len - 3, "\n\r\n", 3);
}

static void end_head(struct headscan *s, struct buf *out)
{
    if (s->len < 4 || memcmp(s->head + s->len - 4, "\r\n\r\n", 4)) {
        bad(s, ERR_BAD_REQUEST, "lines must end with CRLF");
        return;
    }
    if (check_head(s))
        return;
    buf_put(out, s->head, s->len);
    s->heads++;
    s->len = 0;
    s->body_left = s->content_length;
    s->state = s->body_left ? HEADSCAN_BODY : HEADSCAN_HEAD;
}

static void feed_head(struct headscan *s, uint8_t c, struct buf *out)
{
    if (s->len == HEAD_MAX) {
        bad(s, ERR_HEADER_TOO_LARGE, "the request head is longer than 8192 bytes");
        return;
    }
    if (!s->len && (c == '\r' || c == '\n')) {
        bad(s, ERR_BAD_REQUEST, "a request begins with an empty line");
        return;
    }
    s->head[s->len++] = c;
    if (complete(s))
        end_head(s, out);
}

size_t headscan_feed(struct headscan *s, struct span in, struct buf *out)
{
    size_t taken = 0;

    do {
        size_t left = in.len - taken, n = 1;

        if (s->state == HEADSCAN_BAD || !left)
            return in.len;
        if (s->state == HEADSCAN_BODY) {
            n = left < s->body_left ? left : (size_t)s->body_left;
            buf_put(out, in.data + taken, n);
            s->body_left -= n;
            if (!s->body_left)
                s->state = HEADSCAN_HEAD;
        } else {
            feed_head(s, in.data[taken], out);
        }
        taken += n;
    } while (!headscan_between(s));
    return taken;
}

bool headscan_between(const struct headscan *s)
{
    return s->state == HEADSCAN_HEAD && !s->len;
}

struct span headscan_part(const struct headscan *s, enum headscan_part part)
{
    return s->part[part].present ? span_of(s->head + s->part[part].at, s->part[part].len) : span_of(NULL, 0);
}
