/* kmsctl sign: signs releases, several files in batches. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fsutil.h"
#include "base/num.h"
#include "client/cmd_sign_check.h"
#include "client/config.h"
#include "client/digest.h"
#include "client/output.h"

#define PATH_TEXT 4096
#define MANY 1000 /* files whose signatures are held at a time */

/* What all of a call have in common. */
struct job {
    struct kms_sign_request rq;   /* but for what is an artifact's own */
    struct buf spki;              /* of --pub; empty = signatures are not verified here */
};
/* One artifact to be signed. */
struct artifact {
    const char *path;             /* NULL with --digest */
    const char *name;
    const char *hash;
    char digest[SCHEME_DIGEST_HEX];
    int64_t size;
};

static int bad(struct context *c, const struct err *why)
{
    return kms_fail(&c->error, KMS_USAGE, why);
}

/* Options that are the same for all files. */
static int common(struct context *c, struct kms_sign_request *rq)
{
    struct err why = {0};

    if (config_need(c, OPT_VERSION, &rq->version) || config_need(c, OPT_KEY, &rq->key) || config_need(c, OPT_APP, &rq->app) ||
        config_need(c, OPT_CHANNEL, &rq->channel))
        return -1;
    if (version_check(rq->version, &why) || name_check(rq->key, "--key", &why) || app_check(rq->app, "--app", &why) ||
        name_check(rq->channel, "--channel", &why))
        return bad(c, &why);
    rq->source = config_text(c, OPT_SOURCE);
    rq->dry_run = config_text(c, OPT_DRY_RUN) != NULL;
    rq->idempotency_key = config_text(c, OPT_IDEMPOTENCY_KEY);
    return 0;
}

/* --digest HASH:HEX [--size N] [--name NAME] */
static int from_digest(struct context *c, const char *app, struct artifact *a)
{
    const char *text = config_text(c, OPT_DIGEST);
    size_t len;
    uint64_t size;

    a->hash = strncmp(text, "sha384:", 7) ? "sha256" : "sha384";
    len = 2 * hash_length(a->hash);
    if ((strncmp(text, "sha256:", 7) && strncmp(text, "sha384:", 7)) || strlen(text + 7) != len || strspn(text + 7, "0123456789abcdef") != len)
        return kms_fail_text(&c->error, KMS_USAGE, "--digest is sha256: and 64, or sha384: and 96 lower-case hexadecimal characters");
    memcpy(a->digest, text + 7, len + 1);
    if (config_number(c, OPT_SIZE, 0, (uint64_t)JSON_INT_MAX, 0, &size))
        return -1;
    a->size = config_text(c, OPT_SIZE) ? (int64_t)size : -1;
    a->name = config_text(c, OPT_NAME) ? config_text(c, OPT_NAME) : app;
    return 0;
}

static int from_file(struct context *c, const char *path, struct artifact *a)
{
    const char *slash = strrchr(path, '/');
    struct err why = {0};

    a->path = path;
    a->hash = config_text(c, OPT_HASH) ? config_text(c, OPT_HASH) : "sha256";
    a->name = config_text(c, OPT_NAME) ? config_text(c, OPT_NAME) : slash ? slash + 1 : path;
    return artifact_check(a->name, config_text(c, OPT_NAME) ? "--name" : "the file's base name (--name gives another)", &why) ? bad(c, &why) : 0;
}

static int hash_one(struct context *c, struct artifact *a)
{
    struct err why = {0};

    return digest_file(a->path, a->hash, a->digest, &a->size, &why) ? kms_fail(&c->error, KMS_REFUSED, &why) : 0;
}

static int hash_all(struct context *c, struct artifact *list, size_t n)
{
    struct digest_job *job = calloc(n, sizeof(*job));
    int failed = job ? 0 : kms_fail_text(&c->error, KMS_REFUSED, "out of memory");

    for (size_t i = 0; job && i < n; i++)
        job[i] = (struct digest_job){.path = list[i].path, .hash = list[i].hash};
    if (job)
        digest_many(job, n);
    for (size_t i = 0; i < n && !failed; i++) {
        memcpy(list[i].digest, job[i].digest, sizeof(list[i].digest));
        list[i].size = job[i].size;
        failed = job[i].failed ? kms_fail(&c->error, KMS_REFUSED, &job[i].why) : 0;
    }
    free(job);
    return failed;
}

static int check_words(struct context *c)
{
    int n = c->args.n_words;

    if (config_text(c, OPT_DIGEST) && n)
        return kms_fail_text(&c->error, KMS_USAGE, "give FILE or --digest, not both");
    if (!config_text(c, OPT_DIGEST) && !n)
        return kms_fail_text(&c->error, KMS_USAGE, "give at least one FILE, or --digest sha256:HEX");
    if (!config_text(c, OPT_DIGEST) && config_text(c, OPT_SIZE))
        return kms_fail_text(&c->error, KMS_USAGE, "--size goes with --digest; a FILE is measured");
    if (config_text(c, OPT_HASH) && config_text(c, OPT_DIGEST))
        return kms_fail_text(&c->error, KMS_USAGE, "--hash goes with FILE; --digest names its hash itself");
    if (config_text(c, OPT_HASH) && !hash_length(config_text(c, OPT_HASH)))
        return kms_fail_text(&c->error, KMS_USAGE, "--hash is sha256 or sha384, not '%s'", config_text(c, OPT_HASH));
    if (n > 1 && (config_text(c, OPT_NAME) || config_text(c, OPT_OUTPUT_FILE)))
        return kms_fail_text(&c->error, KMS_USAGE, "--name and --output-file are for one FILE");
    return 0;
}

/* The envelope in the place of the artifact would be the end of it. */
static int check_output(struct context *c, const struct artifact *a)
{
    const char *file = config_text(c, OPT_OUTPUT_FILE);
    struct stat in, out;

    if (!file || !a->path || stat(a->path, &in) || stat(file, &out) || in.st_dev != out.st_dev || in.st_ino != out.st_ino || !S_ISREG(in.st_mode))
        return 0;
    return kms_fail_text(&c->error, KMS_USAGE, "--output-file %s is the artifact itself", file);
}

/* What was made of it: the envelope, or the bytes of the signature. */
static int result_of(struct context *c, const struct kms_signature *s, struct span *out)
{
    *out = s->envelope ? span_of(s->envelope, s->envelope_len) : span_of(s->block, s->block_len);
    if (!config_text(c, OPT_RAW))
        return 0;
    *out = span_of(s->raw, s->raw_len);
    return s->raw_len ? 0 : kms_fail_text(&c->error, KMS_USAGE, "--raw is for ECDSA signatures over digests; key %s makes others (scheme %s)", s->key, s->scheme);
}

static int write_result(struct context *c, const struct artifact *a, const struct kms_signature *s, char path[static PATH_TEXT])
{
    const char *file = config_text(c, OPT_OUTPUT_FILE), *stem = a->path ? a->path : a->name;
    int n = file ? snprintf(path, PATH_TEXT, "%s", file) : snprintf(path, PATH_TEXT, "%s%s", stem, s->envelope ? ".dsse.json" : ".sig");
    struct err why = {0};
    struct span bytes;

    if (n < 0 || n >= PATH_TEXT)
        return kms_fail_text(&c->error, KMS_USAGE, "the file name is too long");
    if (result_of(c, s, &bytes))
        return -1;
    if (strcmp(path, "-") == 0)
        return output_bytes(c, bytes);
    return file_write_atomic(path, bytes.data, bytes.len, 0644, &why) ? kms_fail(&c->error, KMS_REFUSED, &why) : 0;
}

static void report_dry_run(struct context *c, const struct artifact *a, const struct kms_signature *s)
{
    JSON_AUTO *j = json_pack("{s:s, s:s, s:s, s:b, s:s, s:s}", "name", a->name, a->hash, a->digest, "decision", "allow", "signed_before",
                             s->signed_before, "rule", s->rule, "request_id", s->request_id);

    output_object(c, j);
}

static void report(struct context *c, const struct kms_sign_request *rq, const struct artifact *a, const struct kms_signature *s, const char *path)
{
    JSON_AUTO *j = json_pack("{s:s, s:s, s:s, s:I, s:s, s:{s:s, s:I}, s:s, s:s}", "name", a->name, a->hash, a->digest, "key", s->key, "key_version",
                             (json_int_t)s->key_version, "scheme", s->scheme, "record", "hash", s->hash, "seq", (json_int_t)s->seq, "version", rq->version,
                             "request_id", s->request_id);

    /* A path that is not UTF-8 cannot be a JSON text: it is left out. */
    if (j && a->path)
        json_object_set_new(j, "file", json_string(a->path));
    if (j)
        json_object_set_new(j, s->envelope ? "envelope_file" : "signature_file", json_string(path));
    output_object(c, j);
}

static void fill(struct kms_sign_request *rq, const struct artifact *a)
{
    rq->name = a->name;
    rq->hash = a->hash;
    rq->digest = a->digest;
    rq->size = a->size;
}

static int take(struct context *c, const struct job *j, const struct kms_sign_request *rq, const struct artifact *a, const struct kms_signature *s)
{
    char path[PATH_TEXT];

    if (s->dry_run)
        return report_dry_run(c, a, s), 0;
    if (sign_check(c, buf_span(&j->spki), rq, s) || write_result(c, a, s, path))
        return -1;
    if (strcmp(path, "-") != 0)
        report(c, rq, a, s, path);
    return 0;
}

static int sign_one(struct context *c, struct job *j, const struct artifact *a)
{
    KMS_SIGNATURE_AUTO s = {0};

    fill(&j->rq, a);
    return kms_sign(c->kms, &j->rq, &s, &c->error) || take(c, j, &j->rq, a, &s) ? -1 : 0;
}

/* A line for a file that was not signed: a result like the others for programs, and words on standard error. */
static void report_failure(struct context *c, const struct artifact *a, const struct kms_error *e)
{
    JSON_AUTO *j = json_pack("{s:s, s:s, s:{s:s, s:s, s:s, s:I}}", "name", a->name, a->hash, a->digest, "error", "slug", e->slug, "detail", e->detail,
                             "request_id", e->request_id, "status", (json_int_t)e->http);

    if (j)
        json_object_set_new(j, "file", json_string(a->path));
    if (c->json)
        output_object(c, j);
    fflush(stdout);
    output_note("%s: %s (%s)", a->path, e->detail[0] ? e->detail : e->title, e->slug);
}

/* Signs n files; *left counts those that were not. -1 when the service answered for none: it makes no sense to go on. */
static int sign_some(struct context *c, const struct job *all, const char *key, const struct artifact *list, size_t n, size_t *left)
{
    struct kms_sign_request *rq = calloc(n, sizeof(*rq));
    struct kms_sign_result *out = calloc(n, sizeof(*out));
    int failed = rq && out ? 0 : kms_fail_text(&c->error, KMS_REFUSED, "out of memory");
    enum kms_status status = KMS_REFUSED;
    size_t before;

    for (size_t i = 0; !failed && i < n; i++) {
        rq[i] = all->rq;
        fill(&rq[i], &list[i]);
    }
    before = *left;
    if (!failed)
        status = kms_sign_many(c->kms, rq, n, key, out, &c->error) ? c->error.status : KMS_DONE;
    for (size_t i = 0; rq && out && i < n; i++) {
        struct kms_error e = out[i].error;

        if (e.status == KMS_DONE && take(c, all, &rq[i], &list[i], &out[i].signature)) {
            e = c->error;
            status = KMS_REFUSED;
        }
        if (e.status == KMS_DONE)
            continue;
        ++*left;
        report_failure(c, &list[i], &e);
    }
    if (out)
        kms_sign_results_free(out, n);
    free(out);
    free(rq);
    c->error.status = status;
    return failed || (*left - before == n && status != KMS_REFUSED) ? -1 : 0;
}

static int sign_many(struct context *c, const struct job *j, const struct artifact *list, size_t n)
{
    const char *given = j->rq.idempotency_key;
    size_t left = 0, done = 0;
    int failed = 0;

    while (done < n && !failed) {
        size_t some = n - done < MANY ? n - done : MANY;
        BUF_AUTO key = BUF_INIT(256);

        if (given)
            buf_printf(&key, "%s.%zu", given, done / MANY);
        failed = sign_some(c, j, given ? buf_str(&key) : NULL, list + done, some, &left);
        done += some;
        if (n > MANY && isatty(STDERR_FILENO))
            output_note("%zu of %zu", done, n);
    }
    left += n - done;
    if (!left)
        return 0;
    return kms_fail_text(&c->error, left == n ? c->error.status : KMS_REFUSED, "%zu of %zu files were not signed", left, n);
}

/* Everything is hashed and checked before the first request, so that a bad name does not stop the run half way. */
static int prepare(struct context *c, const char *app, struct artifact *list, size_t n)
{
    struct err why = {0};

    if (config_text(c, OPT_DIGEST))
        return from_digest(c, app, &list[0]) || (artifact_check(list[0].name, "--name", &why) && bad(c, &why)) ? -1 : 0;
    for (size_t i = 0; i < n; i++)
        if (from_file(c, c->args.word[i], &list[i]))
            return -1;
    if (check_output(c, &list[0]))
        return -1;
    return n == 1 ? hash_one(c, &list[0]) : hash_all(c, list, n);
}

int cmd_sign(struct context *c)
{
    struct job j = {0};
    size_t n = c->args.n_words ? (size_t)c->args.n_words : 1;
    struct artifact *list;
    int failed;

    if (check_words(c) || common(c, &j.rq) || sign_check_key(c, &j.spki))
        return -1;
    list = calloc(n, sizeof(*list));
    failed = list ? config_connect(c) || prepare(c, j.rq.app, list, n) : kms_fail_text(&c->error, KMS_REFUSED, "out of memory");
    if (!failed)
        failed = n == 1 ? sign_one(c, &j, &list[0]) : sign_many(c, &j, list, n);
    free(list);
    buf_free(&j.spki);
    return failed ? -1 : 0;
}
