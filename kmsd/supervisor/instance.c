/* Creates an instance in a fresh directory. */
#include "kmsd/supervisor/instance.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "audit/anchorfile.h"
#include "audit/logdir.h"
#include "base/enc.h"
#include "base/fsutil.h"
#include "base/sshsig.h"
#include "base/timefmt.h"
#include "base/x509.h"
#include "kmsd/settings.h"
#include "policy/policy.h"

struct work {
    const struct instance_plan *plan;
    char settings[PATH_MAX], fresh[PATH_MAX], audit[PATH_MAX];
    char handle[ADMIN_HANDLE];
    json_t *setup;      /* what the token program printed */
    json_t *ssh;        /* the first administrator's keys */
};

static int paths(struct work *w, struct err *e)
{
    const char *dir = w->plan->dir;

    if (path_join(w->settings, sizeof w->settings, dir, "kmsd.yaml") || path_join(w->fresh, sizeof w->fresh, dir, "kmsd.yaml.new") ||
        path_join(w->audit, sizeof w->audit, dir, "audit"))
        return err_set(e, ERR_BAD_REQUEST, "the path %s is too long", dir);
    if (file_exists(w->settings))
        return err_set(e, ERR_ALREADY_EXISTS, "%s exists: this directory holds an instance", w->settings);
    return 0;
}

int admin_handle(char out[static ADMIN_HANDLE], struct err *e)
{
    uint8_t bytes[8];

    if (random_bytes(bytes, sizeof bytes))
        return err_set(e, ERR_INTERNAL, "no random bytes");
    memcpy(out, "h-", 2);
    hex_encode(bytes, sizeof bytes, out + 2);
    return 0;
}

/* Tokens, CA and server certificate are the token program's work: this process never sees a PIN. */
static int set_up_tokens(struct work *w, struct err *e)
{
    const struct instance_plan *p = w->plan;
    char program[PATH_MAX];
    BUF_AUTO out = BUF_INIT(1 << 20);
    const char *argv[16] = {program, "--setup", "--settings", w->fresh, "--origin", p->origin};
    int n = 6, code;

    if (program_path("kmsd-token", true, program, sizeof program, e))
        return -1;
    if (p->admin_csr) {
        argv[n++] = "--admin-csr";
        argv[n++] = p->admin_csr;
        argv[n++] = "--admin-cn";
        argv[n++] = w->handle;
    }
    code = program_run(argv, NULL, &out, e);
    if (code)
        return code < 0 ? -1 : err_set(e, ERR_TOKEN_UNAVAILABLE, "setting up the tokens failed; the lines above say why. Remove %s before you try again", p->dir);
    while (out.len && out.data[out.len - 1] == '\n')
        out.len--;
    w->setup = json_read_object(out.data, out.len, out.len, e);
    return w->setup ? 0 : err_context(e, "the answer of kmsd-token");
}

static int admin_certificate(struct work *w, struct buf *der, struct err *e)
{
    const char *b64 = rec_str(w->setup, "admin_cert_b64");
    BUF_AUTO pem = BUF_INIT(32768);

    if (w->plan->admin_cert)
        return file_read(w->plan->admin_cert, &pem, e) || pem_to_der(buf_span(&pem), "CERTIFICATE", der, e) ? -1 : 0;
    if (!*b64 || b64_decode(der, b64, strlen(b64)))
        return err_set(e, ERR_INTERNAL, "kmsd-token issued no administrator certificate");
    der_to_pem(&pem, "CERTIFICATE", buf_span(der));
    return w->plan->admin_out ? file_write_atomic(w->plan->admin_out, pem.data, pem.len, 0644, e) : 0;
}

/* Read before anything is made: a wrong file name must not leave half an instance. */
static int read_ssh_keys(struct work *w, struct err *e)
{
    w->ssh = json_array();
    for (unsigned n = 0; n < w->plan->n_admin_ssh; n++) {
        BUF_AUTO line = BUF_INIT(8192);
        char bare[SSH_KEY_TEXT_MAX];

        if (file_read(w->plan->admin_ssh[n], &line, e))
            return -1;
        while (line.len && line.data[line.len - 1] == '\n')
            line.data[--line.len] = '\0';
        if (ssh_key_normalise(buf_str(&line), bare, sizeof bare, e))
            return err_context(e, "%s", w->plan->admin_ssh[n]);
        json_array_append_new(w->ssh, json_string(bare));
    }
    return w->ssh ? 0 : err_set(e, ERR_INTERNAL, "out of memory");
}

static json_t *founder(struct work *w, struct err *e)
{
    BUF_AUTO der = BUF_INIT(32768);
    struct cert_facts f;
    char cert[SHA256_HEX], spki[SHA256_HEX], until[TIME_TEXT];

    if (admin_certificate(w, &der, e) || cert_facts(buf_span(&der), &f, e))
        return NULL;
    hex_encode(f.sha256, SHA256_LEN, cert);
    hex_encode(f.spki_sha256, SHA256_LEN, spki);
    time_format(f.not_after, until);
    return json_pack("{s:s, s:s, s:[{s:s, s:s, s:s, s:s, s:b}], s:O}", "name", w->handle, "kind", "human", "credentials", "kind", "certificate", "cert_sha256",
                     cert, "spki_sha256", spki, "not_after", until, "issued", w->plan->admin_csr != NULL, "ssh", w->ssh);
}

static json_t *genesis(struct work *w, const char *policy_sha256, struct err *e)
{
    uint8_t id[16];
    char instance[33];
    json_t *identity = founder(w, e), *record;

    if (!identity)
        return NULL;
    if (random_bytes(id, sizeof id)) {
        json_decref(identity);
        err_set(e, ERR_INTERNAL, "no random bytes");
        return NULL;
    }
    hex_encode(id, sizeof id, instance);
    record = record_new("log.genesis", "ok", &actor_system, "");
    record_text(record, "policy", policy_sha256);
    json_object_set_new(record, "detail",
                        json_pack("{s:O?, s:O?, s:i, s:[o], s:s, s:s, s:s}", "ca", json_object_get(w->setup, "ca"), "checkpoint",
                                  json_object_get(w->setup, "checkpoint"), "format", 1, "identities", identity, "instance", instance, "mode", w->plan->mode,
                                  "origin", w->plan->origin));
    return record;
}

static int begin_log(struct work *w, struct err *e)
{
    struct logdir l = {.fd = -1, .dir_fd = -1};
    char hash[SHA256_HEX], boot[RECORD_BOOT_HEX];
    uint8_t id[16];

    sha256_hex(w->plan->policy.data, w->plan->policy.len, hash);
    JSON_AUTO *record = genesis(w, hash, e);
    if (!record)
        return -1;
    if (random_bytes(id, sizeof id))
        return err_set(e, ERR_INTERNAL, "no random bytes");
    hex_encode(id, sizeof id, boot);
    memcpy(l.dir, w->audit, sizeof l.dir);
    return logdir_blob_write(&l, hash, w->plan->policy, e) || logdir_begin(w->audit, record, clock_wall_us(), boot, e) ? -1 : 0;
}

/* The first line of the first segment. */
static int read_genesis(const char *path, struct buf *line, struct err *e)
{
    FILE *f = fopen(path, "re");
    int c;

    if (!f)
        return err_errno(e, ERR_LOG_UNAVAILABLE, errno, "%s", path);
    while ((c = getc(f)) != EOF && c != '\n')
        buf_putc(line, (uint8_t)c);
    fclose(f);
    return buf_ok(line) ? err_set(e, ERR_LOG_UNAVAILABLE, "%s does not begin with a record", path) : 0;
}

/* Made together with the log: where it is missing later, something was taken away. */
static int make_anchor(const struct work *w, struct err *e)
{
    BUF_AUTO line = BUF_INIT(RECORD_LINE_MAX);
    struct anchor a = {.counter = anchor_next_counter(0, clock_wall_us())};
    struct settings s;
    char first[PATH_MAX];
    const char *instance;

    if (settings_load(w->fresh, &s, e))
        return -1;
    if (file_exists(s.anchor))
        return err_set(e, ERR_ALREADY_EXISTS, "%s exists: it belongs to another instance; remove it, or name another place", s.anchor);
    if (path_join(first, sizeof first, w->audit, "00000000000000000000.jsonl") || read_genesis(first, &line, e))
        return -1;
    JSON_AUTO *genesis = json_read_object(line.data, line.len, RECORD_LINE_MAX, e);
    if (!genesis)
        return -1;
    instance = rec_str(rec_obj(genesis, "detail"), "instance");
    memcpy(a.instance, instance, strnlen(instance, sizeof a.instance - 1));
    sha256_hex(line.data, line.len, a.hash);
    return anchor_file_create(s.anchor, &a, e);
}

static int check_policy(const struct instance_plan *p, struct err *e)
{
    struct policy *loaded = policy_load("policy", p->policy, e);
    const struct policy_subject first = {.name = "h-0000000000000000", .kind = "human", .founder = true};
    bool usable = loaded && policy_can_apply(loaded, &first);

    if (loaded && !usable)
        err_set(e, ERR_POLICY_LOCKOUT, "the policy must let `founders` do policy.apply, or nobody could ever change it");
    policy_free(loaded);
    return usable ? 0 : -1;
}

static int create(struct work *w, struct err *e)
{
    const struct instance_plan *p = w->plan;
    const char *module = p->module ? p->module : "/usr/lib/softhsm/libsofthsm2.so";

    if (check_policy(p, e) || paths(w, e) || read_ssh_keys(w, e) || admin_handle(w->handle, e) || dir_make(p->dir, 0750, e) || logdir_make(w->audit, e) ||
        settings_write(w->fresh, p->origin, p->listen_ci, p->listen_admin, module, e) || set_up_tokens(w, e) || begin_log(w, e) ||
        make_anchor(w, e))
        return -1;
    if (rename(w->fresh, w->settings))
        return err_errno(e, ERR_INTERNAL, errno, "%s", w->settings);
    return dir_sync(p->dir, e);
}

int instance_create(const struct instance_plan *plan, char handle[static ADMIN_HANDLE], struct err *e)
{
    struct work w = {.plan = plan};
    int failed = create(&w, e);

    json_decref(w.setup);
    json_decref(w.ssh);
    memcpy(handle, w.handle, sizeof w.handle);
    return failed;
}

/* Was it made for development? */
static int read_mode(const struct settings *settings, bool *dev, struct err *e)
{
    char path[PATH_MAX];
    BUF_AUTO line = BUF_INIT(RECORD_LINE_MAX);

    if (path_join(path, sizeof path, settings->audit_dir, "00000000000000000000.jsonl"))
        return err_set(e, ERR_BAD_REQUEST, "the path of the log is too long");
    if (read_genesis(path, &line, e))
        return -1;
    JSON_AUTO *genesis = json_read_object(line.data, line.len, RECORD_LINE_MAX, e);
    if (!genesis)
        return err_context(e, "%s", path);
    *dev = !strcmp(rec_str(rec_obj(genesis, "detail"), "mode"), "dev");
    return 0;
}

int instance_check_mode(const struct settings *settings, bool allow_dev, struct err *e)
{
    bool dev;

    if (read_mode(settings, &dev, e))
        return -1;
    if (dev && !allow_dev)
        return err_set(e, ERR_BAD_REQUEST, "%s is a development instance; run it with kmsd dev, or make a production one with kmsd init", settings->dir);
    return 0;
}

int instance_check_dev(const struct settings *settings, struct err *e)
{
    bool dev;

    if (read_mode(settings, &dev, e))
        return -1;
    return dev ? 0 : err_set(e, ERR_BAD_REQUEST, "%s is a production instance, which kmsd run runs; name another directory", settings->dir);
}
