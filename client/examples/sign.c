/* Signs one file with libkms and checks the answer against the public key: what a build system needs to do.
 *
 *   cc sign.c -o sign $(pkg-config --cflags --libs libkms)
 *   KMS_ADDR=https://kms.example:8443 KMS_CACERT=ca.pem KMS_CERT=ci.pem KMS_KEY=ci.key ./sign ota com.example.app stable 1.4.0 app.zip ota.pem
 *
 * Writes app.zip.dsse.json. With KMS_DEVELOPMENT=1 it accepts the statements of a development server. */
#include <kms.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int report(const char *what, const struct kms_error *e)
{
    fprintf(stderr, "%s: %s: %s%s%s\n", what, e->slug, e->title, e->title[0] && e->detail[0] ? ": " : "", e->detail);
    return (int)e->status;
}

static size_t read_file(const char *path, char *out, size_t size)
{
    FILE *f = fopen(path, "rb");
    size_t n = f ? fread(out, 1, size, f) : 0;

    if (f)
        fclose(f);
    return n;
}

static int write_envelope(const char *file, const struct kms_signature *s)
{
    char path[4096];
    FILE *f;
    int ok;

    snprintf(path, sizeof(path), "%s.dsse.json", file);
    f = fopen(path, "wb");
    ok = f && fwrite(s->envelope, 1, s->envelope_len, f) == s->envelope_len;
    if (f && fclose(f))
        ok = 0;
    if (!ok)
        perror(path);
    return ok ? 0 : KMS_REFUSED;
}

/* The public key comes from a file that was brought here another way, never from the service that signs. */
static int check(const struct kms_signature *s, const struct kms_sign_request *rq, const char *public_key_file)
{
    struct kms_expect x = KMS_EXPECT_INIT;
    struct kms_release r;
    struct kms_error e;
    char pem[4096];
    size_t n = read_file(public_key_file, pem, sizeof(pem));

    x.sha256 = rq->digest;
    x.size = rq->size;
    x.app = rq->app;
    x.channel = rq->channel;
    x.version = rq->version;
    x.allow_development = getenv("KMS_DEVELOPMENT") != NULL;
    if (kms_verify(s->envelope, s->envelope_len, pem, n, &x, &r, &e))
        return report("verify", &e);
    printf("%s %s of %s is signed with %s:%lld, record %lld of the log\n", r.name, r.version, r.app, r.key_name, (long long)r.key_version,
           (long long)s->seq);
    return 0;
}

int main(int argc, char **argv)
{
    struct kms_options o = KMS_OPTIONS_INIT;
    struct kms_sign_request rq = KMS_SIGN_REQUEST_INIT;
    struct kms_signature signature = {0};
    struct kms_error e;
    struct kms *k;
    char sha256[KMS_DIGEST_TEXT];
    const char *slash;
    int status;

    if (argc != 7) {
        fputs("usage: sign KEY APP CHANNEL VERSION FILE PUBLIC-KEY\n", stderr);
        return KMS_USAGE;
    }
    o.addr = getenv("KMS_ADDR");
    o.cacert = getenv("KMS_CACERT");
    o.cert = getenv("KMS_CERT");
    o.key = getenv("KMS_KEY");
    if (kms_digest_file(argv[5], "sha256", sha256, &rq.size, &e))
        return report("digest", &e);
    slash = strrchr(argv[5], '/');
    rq.key = argv[1];
    rq.app = argv[2];
    rq.channel = argv[3];
    rq.version = argv[4];
    rq.name = slash ? slash + 1 : argv[5];
    rq.digest = sha256;
    k = kms_open(&o, &e);
    if (!k)
        return report("open", &e);
    status = kms_sign(k, &rq, &signature, &e) ? report("sign", &e) : check(&signature, &rq, argv[6]);
    if (status == 0)
        status = write_envelope(argv[5], &signature);
    kms_signature_free(&signature);
    kms_close(&k);
    return status;
}
