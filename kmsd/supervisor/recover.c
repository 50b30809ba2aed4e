/* `kmsd recover-admin`: who owns the machine lets another administrator in, and the log says so for good. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/enc.h"
#include "base/fsutil.h"
#include "base/sshsig.h"
#include "base/timefmt.h"
#include "base/x509.h"
#include "kmsd/supervisor/commands.h"
#include "kmsd/supervisor/instance.h"
#include "kmsd/supervisor/offline.h"
#include "kmsd/supervisor/offlinelog.h"

#define CSR_MAX 65536

static const char USAGE[] =
    "usage: kmsd recover-admin (--settings FILE | --dir DIR) --admin-csr FILE --admin-ssh FILE.pub --reason TEXT [--admin-out FILE] [--policy FILE]\n"
    "\n"
    "For when no administrator is left: another one, with the rights of the first. Only the owner of the log can, while the service does not run.\n"
    "A record admin.recover says so, which kms-audit shows to everybody who checks the log. Those who were administrators stay administrators.\n"
    "\n"
    "  --admin-csr FILE   signing request without a subject (openssl req -new -key KEY -subj /)\n"
    "  --admin-ssh FILE   SSH public key that signs the changes\n"
    "  --reason TEXT      why, in words; it stands in the log\n"
    "  --admin-out FILE   where the certificate goes (recovered-admin.pem in the instance's directory)\n"
    "  --policy FILE      also this policy from now on: needed where the one that holds gives founders no way to change it\n";

struct recovery {
    struct settings settings;
    const char *csr_file, *ssh_file, *reason, *out, *policy_file;
    struct buf csr, cert, pem, policy;
    char ssh[SSH_KEY_TEXT_MAX], handle[ADMIN_HANDLE], policy_sha256[SHA256_HEX];
    struct offline_log log;
};

static int read_request(struct recovery *r, struct err *e)
{
    BUF_AUTO pem = BUF_INIT(CSR_MAX), line = BUF_INIT(8192);

    r->csr = BUF_INIT(CSR_MAX);
    if (file_read(r->csr_file, &pem, e) || pem_to_der(buf_span(&pem), "CERTIFICATE REQUEST", &r->csr, e) || csr_check(buf_span(&r->csr), NULL, e))
        return err_context(e, "%s", r->csr_file);
    if (x509_names_subject(buf_span(&r->csr), true))
        return err_set(e, ERR_BAD_CERTIFICATE, "%s names its subject, and the certificate stays in the log: make one without (openssl req -subj /)",
                       r->csr_file);
    if (file_read(r->ssh_file, &line, e))
        return -1;
    while (line.len && line.data[line.len - 1] == '\n')
        line.data[--line.len] = '\0';
    return ssh_key_normalise(buf_str(&line), r->ssh, sizeof r->ssh, e) ? err_context(e, "%s", r->ssh_file) : 0;
}

static bool is_free(void *ctx, struct identity *i)
{
    struct recovery *r = ctx;

    for (unsigned n = 0; n < i->n_ssh; n++)
        if (!strcmp(i->ssh[n], r->ssh))
            return r->ssh[0] = '\0', false;
    return true;
}

/* What would leave the new administrator without rights is refused before anything is made. */
static int check_state(struct recovery *r, struct err *e)
{
    const struct policy_subject founder = {.name = r->handle, .kind = "human", .founder = true};
    struct policy *given = NULL;
    bool usable;

    state_each_identity(r->log.state, "", is_free, r);
    if (!r->ssh[0])
        return err_set(e, ERR_ALREADY_EXISTS, "the SSH key in %s belongs to an identity already", r->ssh_file);
    if (r->policy_file) {
        r->policy = BUF_INIT(POLICY_TEXT_MAX);
        if (file_read(r->policy_file, &r->policy, e) || !(given = policy_load(r->policy_file, buf_span(&r->policy), e)))
            return -1;
        sha256_hex(r->policy.data, r->policy.len, r->policy_sha256);
    }
    usable = policy_can_apply(given ? given : r->log.state->policy, &founder);
    policy_free(given);
    return usable ? 0 : err_set(e, ERR_POLICY_LOCKOUT,
                                "%s gives `founders` no policy.apply: the new administrator could do nothing; name another with --policy",
                                r->policy_file ? r->policy_file : "the policy that holds");
}

static int issue(struct recovery *r, struct err *e)
{
    BUF_AUTO b64 = BUF_INIT(2 * CSR_MAX);
    const char *const more[] = {"--recover-admin", "--admin-cn", r->handle, "--csr", NULL, NULL};
    const char *argv[6];

    b64_encode(&b64, r->csr.data, r->csr.len);
    memcpy(argv, more, sizeof more);
    argv[4] = buf_str(&b64);
    r->pem = BUF_INIT(CSR_MAX);
    r->cert = BUF_INIT(CSR_MAX);
    if (buf_ok(&b64) || offline_token(&r->settings, argv, &r->pem, e) || pem_to_der(buf_span(&r->pem), "CERTIFICATE", &r->cert, e) ||
        state_issued(r->log.state, buf_span(&r->cert), e))
        return err_context(e, "the CA issued no usable certificate");
    return 0;
}

static json_t *record_of(const struct recovery *r, struct err *e)
{
    BUF_AUTO b64 = BUF_INIT(2 * CSR_MAX);
    char cert[SHA256_HEX], spki[SHA256_HEX], until[TIME_TEXT];
    struct cert_facts f;
    json_t *record, *detail;

    if (cert_facts(buf_span(&r->cert), &f, e))
        return NULL;
    hex_encode(f.sha256, SHA256_LEN, cert);
    hex_encode(f.spki_sha256, SHA256_LEN, spki);
    time_format(f.not_after, until);
    b64_encode(&b64, r->cert.data, r->cert.len);
    record = record_new("admin.recover", "ok", &actor_system, "");
    detail = json_pack("{s:s, s:{s:s, s:s, s:[{s:s, s:s, s:s, s:s, s:b}], s:[s]}}", "certificate_b64", buf_str(&b64), "identity", "name", r->handle,
                       "kind", "human",
                       "credentials", "kind", "certificate", "cert_sha256", cert, "spki_sha256", spki, "not_after", until,
                       "issued", 1, "ssh", r->ssh);
    record_text(detail, "policy_sha256", r->policy_sha256);
    json_object_set_new(record, "detail", detail);
    record_text(record, "reason", r->reason);
    return record;
}

/* The certificate is in its file before the log says that there is one. */
static int keep(struct recovery *r, uint64_t *seq, char hash[static SHA256_HEX], struct err *e)
{
    json_t *record = record_of(r, e);

    if (!record)
        return -1;
    if ((r->policy_file && offline_log_blob(&r->log, r->policy_sha256, buf_span(&r->policy), e)) ||
        file_write_atomic(r->out, r->pem.data, r->pem.len, 0644, e)) {
        json_decref(record);
        return -1;
    }
    return offline_log_append(&r->log, record, seq, hash, e);
}

static int recover(struct recovery *r, struct err *e)
{
    char out[PATH_MAX], hash[SHA256_HEX];
    uint64_t seq;

    if (!r->out && path_join(out, sizeof out, r->settings.dir, "recovered-admin.pem"))
        return err_set(e, ERR_BAD_REQUEST, "the path of the directory is too long");
    r->out = r->out ? r->out : out;
    if (file_yields(r->out, "name another file with --admin-out", e) || offline_reason(r->reason, e) || read_request(r, e) ||
        offline_owner(&r->settings, e) || offline_not_sealed(&r->settings, e) ||
        offline_lock(&r->settings, e) || offline_log_open(&r->log, &r->settings, e) || admin_handle(r->handle, e) || check_state(r, e) || issue(r, e) ||
        keep(r, &seq, hash, e))
        return -1;
    printf("*** %s is an administrator of %s from now on ***\n", r->handle, r->log.state->origin);
    printf("record %llu:%s says so, and that nobody of those before agreed to it; kms-audit tells everyone\n", (unsigned long long)seq, hash);
    printf("certificate: %s\n", r->out);
    return 0;
}

static int arguments(int argc, char **argv, struct recovery *r, char file[static PATH_MAX])
{
    static const struct option options[] = {
        {"settings", required_argument, NULL, 's'}, {"dir", required_argument, NULL, 'd'},       {"admin-csr", required_argument, NULL, 'c'},
        {"admin-ssh", required_argument, NULL, 'k'}, {"reason", required_argument, NULL, 'r'},   {"admin-out", required_argument, NULL, 'o'},
        {"policy", required_argument, NULL, 'p'},   {"help", no_argument, NULL, 'h'},            {0}};
    const char *why;
    int opt;

    while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1)
        switch (opt) {
        case 's':
        case 'd':
            if (path_join(file, PATH_MAX, opt == 'd' ? optarg : "", opt == 'd' ? "kmsd.yaml" : optarg))
                return offline_usage(argv, USAGE, "the path is too long");
            break;
        case 'c': r->csr_file = optarg; break;
        case 'k': r->ssh_file = optarg; break;
        case 'r': r->reason = optarg; break;
        case 'o': r->out = optarg; break;
        case 'p': r->policy_file = optarg; break;
        default: return opt == 'h' ? fputs(USAGE, stdout), 0 : offline_usage(argv, USAGE, NULL);
        }
    why = optind != argc ? "there is an argument that is no option" : !file[0] ? "which instance? --dir or --settings is missing" :
          !r->csr_file ? "--admin-csr is missing" : !r->ssh_file ? "--admin-ssh is missing" : !r->reason ? "--reason is missing" : NULL;
    return why ? offline_usage(argv, USAGE, why) : -1;
}

int command_recover_admin(int argc, char **argv)
{
    static struct recovery r = {.log = OFFLINE_LOG_CLOSED};
    char file[PATH_MAX] = "";
    struct err e = {0};
    int code = arguments(argc, argv, &r, file);

    if (code >= 0)
        return code;
    code = settings_load(file, &r.settings, &e) || recover(&r, &e) ? 1 : 0;
    if (code)
        fprintf(stderr, "kmsd recover-admin: %s\n", e.detail);
    offline_log_close(&r.log);
    buf_free(&r.csr);
    buf_free(&r.cert);
    buf_free(&r.pem);
    buf_free(&r.policy);
    return code;
}
