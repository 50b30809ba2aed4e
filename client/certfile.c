/* Puts an issued certificate into its file, and nothing else into the place of anything else. */
#include "client/certfile.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "base/fsutil.h"
#include "base/x509.h"

#define PEM_MAX (64u << 10)

int certfile_check(struct context *c, const char *path)
{
    const char *slash = strrchr(path, '/');
    char dir[PATH_MAX] = ".";
    struct err why = {0};
    size_t n = slash ? (size_t)(slash - path) : 0;

    if (n >= sizeof(dir))
        return kms_fail_text(&c->error, KMS_USAGE, "the path of the certificate is too long");
    if (slash) {
        memcpy(dir, path, n);
        memcpy(dir + n, n ? "" : "/", n ? 1 : 2);
    }
    if (access(dir, W_OK | X_OK))
        return kms_fail_text(&c->error, KMS_USAGE, "the certificate cannot be written to %s: %s; name another file with --cert-out", path, strerror(errno));
    /* Some keep the key and the certificate in one file: the certificate alone in its place would be the end of the key. */
    return file_yields(path, "name another file with --cert-out", &why) ? kms_fail(&c->error, KMS_USAGE, &why) : 0;
}

/* A certificate for another key would lock its owner out, for it takes the place of one that works. */
static int check_key(struct span cert, const char *csr, struct err *e)
{
    BUF_AUTO request = BUF_INIT(PEM_MAX), asked = BUF_INIT(PEM_MAX), got = BUF_INIT(PEM_MAX);

    if (pem_to_der(span_str(csr), "CERTIFICATE REQUEST", &request, e) || csr_check(buf_span(&request), &asked, e) || cert_spki(cert, &got, e))
        return -1;
    return span_eq(buf_span(&asked), buf_span(&got)) ? 0 : err_set(e, ERR_BAD_CERTIFICATE, "it is for another key than the signing request");
}

int certfile_keep(struct context *c, const char *path, const char *csr, json_t *answer)
{
    const char *pem = json_string_value(json_object_get(answer, "certificate"));
    BUF_AUTO der = BUF_INIT(PEM_MAX), clean = BUF_INIT(2 * PEM_MAX);
    struct err why = {0};

    if (!pem)
        return kms_fail_text(&c->error, KMS_REFUSED, "the service's answer holds no certificate; %s is as it was", path);
    if (pem_to_der(span_str(pem), "CERTIFICATE", &der, &why) || check_key(buf_span(&der), csr, &why)) {
        json_object_del(answer, "certificate");
        err_context(&why, "the certificate in the service's answer is not usable, %s is as it was", path);
        return kms_fail(&c->error, KMS_REFUSED, &why);
    }
    der_to_pem(&clean, "CERTIFICATE", buf_span(&der));
    if (buf_ok(&clean) || file_write_atomic(path, clean.data, clean.len, 0644, &why)) {
        err_context(&why, "the certificate was issued (it is in the output), but not written");
        return kms_fail(&c->error, KMS_REFUSED, &why);
    }
    json_object_del(answer, "certificate");
    json_object_set_new(answer, "certificate_file", json_string(path));
    return 0;
}
