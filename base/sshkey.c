/* OpenSSH public keys as text: normal form and fingerprint. */
#include <string.h>

#include "base/enc.h"
#include "base/hash.h"
#include "base/sshblob.h"
#include "base/sshsig.h"

/* Splits "type base64[ comment]" and decodes the blob. */
static int split(const char *line, struct span *type, struct span *b64, struct buf *blob, struct err *e)
{
    size_t n = strcspn(line, " "), m;

    if (strpbrk(line, "\r\n") || !line[n])
        return err_set(e, ERR_BAD_REQUEST, "an SSH public key is one line: type, base64, optional comment");
    *type = span_of(line, n);
    m = strcspn(line + n + 1, " ");
    *b64 = span_of(line + n + 1, m);
    return b64_decode(blob, (const char *)b64->data, m) ? err_set(e, ERR_BAD_REQUEST, "the SSH public key is no base64") : 0;
}

int ssh_key_normalise(const char *line, char *out, size_t size, struct err *e)
{
    BUF_AUTO blob = BUF_INIT(SSH_KEY_TEXT_MAX);
    struct span type, b64;
    struct ssh_key key;

    if (split(line, &type, &b64, &blob, e) || ssh_key_parse(buf_span(&blob), &key, e))
        return -1;
    ssh_key_release(&key);
    if (!span_eq_str(type, key.type))
        return err_set(e, ERR_BAD_REQUEST, "the SSH public key says %.*s outside and %s inside", (int)(type.len > 32 ? 32 : type.len),
                       (const char *)type.data, key.type);
    if (type.len + 1 + b64.len >= size)
        return err_set(e, ERR_BAD_REQUEST, "the SSH public key is too long");
    memcpy(out, type.data, type.len);
    out[type.len] = ' ';
    memcpy(out + type.len + 1, b64.data, b64.len);
    out[type.len + 1 + b64.len] = '\0';
    return 0;
}

int ssh_key_fingerprint(const char *key, char *out, size_t size, struct err *e)
{
    BUF_AUTO blob = BUF_INIT(SSH_KEY_TEXT_MAX), text = BUF_INIT(128);
    struct span type, b64;
    uint8_t hash[SHA256_LEN];

    if (split(key, &type, &b64, &blob, e))
        return -1;
    sha256(blob.data, blob.len, hash);
    buf_puts(&text, "SHA256:");
    b64_encode(&text, hash, sizeof hash);
    while (text.len && text.data[text.len - 1] == '=')
        text.data[--text.len] = '\0';
    if (text.len >= size)
        return err_set(e, ERR_INTERNAL, "no room for a fingerprint");
    memcpy(out, text.data, text.len + 1);
    return 0;
}
