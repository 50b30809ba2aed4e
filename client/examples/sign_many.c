/* Signs many files of one release with libkms in as few exchanges as possible, and tells for each what became of it.
 *
 *   cc sign_many.c -o sign_many $(pkg-config --cflags --libs libkms)
 *   KMS_ADDR=https://kms.example:8443 KMS_CACERT=ca.pem KMS_CERT=ci.pem KMS_KEY=ci.key ./sign_many ota com.example.app stable 1.4.0 part-*.zip
 *
 * Writes FILE.dsse.json beside each FILE that was signed; the key has the scheme statement. */
#include <kms.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct file {
    const char *path;
    char digest[KMS_DIGEST_TEXT];
};

static int report(const char *what, const struct kms_error *e)
{
    fprintf(stderr, "%s: %s: %s%s%s\n", what, e->slug, e->title, e->title[0] && e->detail[0] ? ": " : "", e->detail);
    return (int)e->status;
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

/* Everything is hashed before the first request. */
static int prepare(char **argv, size_t n, struct file *file, struct kms_sign_request *rq)
{
    struct kms_error e;

    for (size_t i = 0; i < n; i++) {
        const char *path = argv[5 + i], *slash = strrchr(path, '/');
        struct kms_sign_request one = KMS_SIGN_REQUEST_INIT;

        file[i].path = path;
        if (kms_digest_file(path, "sha256", file[i].digest, &one.size, &e))
            return report(path, &e);
        one.key = argv[1];
        one.app = argv[2];
        one.channel = argv[3];
        one.version = argv[4];
        one.name = slash ? slash + 1 : path;
        one.digest = file[i].digest;
        rq[i] = one;
    }
    return 0;
}

static int sign_all(const struct file *file, const struct kms_sign_request *rq, size_t n, struct kms_sign_result *out)
{
    struct kms_options o = KMS_OPTIONS_INIT;
    struct kms_error e;
    struct kms *k;
    int status = 0;

    o.addr = getenv("KMS_ADDR");
    o.cacert = getenv("KMS_CACERT");
    o.cert = getenv("KMS_CERT");
    o.key = getenv("KMS_KEY");
    k = kms_open(&o, &e);
    if (!k)
        return report("open", &e);
    if (kms_sign_many(k, rq, n, NULL, out, &e))
        status = (int)e.status;
    for (size_t i = 0; i < n; i++) {
        const struct kms_signature *s = &out[i].signature;

        if (out[i].error.status != KMS_DONE)
            report(file[i].path, &out[i].error);
        else if (!s->envelope || write_envelope(file[i].path, s))
            status = KMS_REFUSED;
        else
            printf("%s: record %lld\n", file[i].path, (long long)s->seq);
    }
    kms_sign_results_free(out, n);
    kms_close(&k);
    return status;
}

int main(int argc, char **argv)
{
    size_t n = argc > 5 ? (size_t)argc - 5 : 0;
    struct file *file = calloc(n, sizeof(*file));
    struct kms_sign_request *rq = calloc(n, sizeof(*rq));
    struct kms_sign_result *out = calloc(n, sizeof(*out));
    int status = KMS_USAGE;

    if (!n)
        fputs("usage: sign_many KEY APP CHANNEL VERSION FILE...\n", stderr);
    else if (!file || !rq || !out)
        status = KMS_REFUSED;
    else
        status = prepare(argv, n, file, rq);
    if (n && status == 0)
        status = sign_all(file, rq, n, out);
    free(file);
    free(rq);
    free(out);
    return status;
}
