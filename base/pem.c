/* PEM (RFC 7468): one block to DER and back. */
#include <string.h>

#include "base/enc.h"
#include "base/x509.h"

#define LINE 64

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct span trim(struct span s)
{
    while (s.len && is_space(s.data[0])) {
        s.data++;
        s.len--;
    }
    while (s.len && is_space(s.data[s.len - 1]))
        s.len--;
    return s;
}

static bool take(struct span *s, const char *text, bool at_end)
{
    size_t n = strlen(text);

    if (s->len < n || memcmp(at_end ? s->data + s->len - n : s->data, text, n))
        return false;
    s->len -= n;
    s->data += at_end ? 0 : n;
    return true;
}

int pem_to_der(struct span pem, const char *label, struct buf *der, struct err *e)
{
    BUF_AUTO begin = BUF_INIT(128), end = BUF_INIT(128), body = BUF_INIT(1 << 20);
    struct span s = trim(pem);

    buf_printf(&begin, "-----BEGIN %s-----", label);
    buf_printf(&end, "-----END %s-----", label);
    if (!take(&s, buf_str(&begin), false) || !take(&s, buf_str(&end), true))
        return err_set(e, ERR_BAD_CERTIFICATE, "it is not one PEM block of type %s", label);
    for (size_t n = 0; n < s.len; n++)
        if (s.data[n] != '\r' && s.data[n] != '\n')
            buf_putc(&body, s.data[n]);
    if (buf_ok(&body) || !body.len || b64_decode(der, buf_str(&body), body.len))
        return err_set(e, ERR_BAD_CERTIFICATE, "the PEM block of type %s is no base64", label);
    return 0;
}

void der_to_pem(struct buf *out, const char *label, struct span der)
{
    BUF_AUTO b64 = BUF_INIT(4 * der.len + 16);

    b64_encode(&b64, der.data, der.len);
    buf_printf(out, "-----BEGIN %s-----\n", label);
    for (size_t n = 0; n < b64.len; n += LINE) {
        buf_put(out, b64.data + n, b64.len - n < LINE ? b64.len - n : LINE);
        buf_putc(out, '\n');
    }
    buf_printf(out, "-----END %s-----\n", label);
    out->failed |= b64.failed;
}
