/* `kmsd renew-ca`: another CA, beside the one that is there. */
#include <stdio.h>
#include <string.h>

#include "base/enc.h"
#include "base/fsutil.h"
#include "base/timefmt.h"
#include "base/x509.h"
#include "kmsd/supervisor/commands.h"
#include "kmsd/supervisor/offline.h"
#include "kmsd/supervisor/offlinelog.h"

#define CA_MAX 65536

static const char USAGE[] =
    "usage: kmsd renew-ca (--settings FILE | --dir DIR)\n"
    "\n"
    "Makes another CA key on the token and its certificate, for ten years, in a file beside the first one of tls.client_ca, and records it\n"
    "(ca.renew). Certificates of the CA before it stay good. The service must not run. What then is to be done the command says.\n";

struct renewal {
    const struct settings *s;
    struct offline_log log;
    json_t *ca;                /* as the token program printed it */
    struct buf der;
    char file[PATH_MAX], until[TIME_TEXT];
};

/* A certificate of a CA, signed with its own key, which the record names. */
static int take(struct renewal *r, struct err *e)
{
    const char *cert = rec_str(r->ca, "cert_b64"), *spki = rec_str(r->ca, "spki_b64");
    BUF_AUTO key = BUF_INIT(CA_MAX);
    struct cert_facts f;

    r->der = BUF_INIT(CA_MAX);
    if (!*cert || b64_decode(&r->der, cert, strlen(cert)) || b64_decode(&key, spki, strlen(spki)) || cert_facts(buf_span(&r->der), &f, e) ||
        !f.is_ca ||
        cert_signed_by(buf_span(&r->der), buf_span(&key), e))
        return err_set(e, ERR_INTERNAL, "kmsd-token made no usable CA");
    time_format(f.not_after, r->until);
    return 0;
}

static int place(struct renewal *r, struct err *e)
{
    char dir[PATH_MAX], hash[SHA256_HEX], name[32];
    BUF_AUTO pem = BUF_INIT(CA_MAX);
    char *slash;

    sha256_hex(r->der.data, r->der.len, hash);
    snprintf(name, sizeof name, "ca-%.8s.pem", hash);
    memcpy(dir, r->s->client_ca[0], sizeof dir);
    slash = strrchr(dir, '/');
    slash[slash == dir] = '\0';
    if (path_join(r->file, sizeof r->file, dir, name))
        return err_set(e, ERR_BAD_REQUEST, "the path of the CA is too long");
    der_to_pem(&pem, "CERTIFICATE", buf_span(&r->der));
    return buf_ok(&pem) ? err_set(e, ERR_INTERNAL, "out of memory") : file_write_atomic(r->file, pem.data, pem.len, 0644, e);
}

static int renew(struct renewal *r, struct err *e)
{
    static const char *const more[] = {"--renew-ca", NULL};
    BUF_AUTO out = BUF_INIT(CA_MAX);
    char hash[SHA256_HEX];
    json_t *record;
    uint64_t seq;

    if (offline_owner(r->s, e) || offline_not_sealed(r->s, e) || offline_lock(r->s, e) || offline_log_open(&r->log, r->s, e) ||
        offline_token(r->s, more, &out, e))
        return -1;
    r->ca = json_read_object(out.data, out.len, CA_MAX, e);
    if (!r->ca || take(r, e) || place(r, e))
        return -1;
    record = record_new("ca.renew", "ok", &actor_system, "");
    json_object_set_new(record, "detail", json_pack("{s:O}", "ca", r->ca));
    if (offline_log_append(&r->log, record, &seq, hash, e))
        return -1;
    printf("%s is a CA of this instance until %.10s; record %llu:%s says so\n", r->file, r->until, (unsigned long long)seq, hash);
    printf("next:\n  1. give clients both certificates: KMS_CACERT names a file that holds %s and %s\n", r->s->client_ca[0], r->file);
    printf("  2. in kmsd.yaml put it first, the others behind it: client_ca: [%s, %s]\n", r->file, r->s->client_ca[0]);
    puts("  3. start the service, run kmsd renew-server, reload; from then on the new CA issues\n"
         "  4. when no certificate of the old CA is in use any more, take it out of client_ca and out of the clients' files");
    return 0;
}

int command_renew_ca(int argc, char **argv)
{
    struct settings s;
    struct renewal r = {.s = &s, .log = OFFLINE_LOG_CLOSED};
    struct err e = {0};
    int code = offline_settings(argc, argv, USAGE, &s, &e);

    if (code >= 0)
        return code;
    code = e.code || renew(&r, &e) ? 1 : 0;
    if (code)
        fprintf(stderr, "kmsd renew-ca: %s\n", e.detail);
    offline_log_close(&r.log);
    json_decref(r.ca);
    buf_free(&r.der);
    return code;
}
