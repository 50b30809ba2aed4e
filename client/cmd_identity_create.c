/* kmsctl identity create: a new identity, its credential, and for people the local note of who a handle is. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/fsutil.h"
#include "base/sshsig.h"
#include "base/x509.h"
#include "client/api.h"
#include "client/certfile.h"
#include "client/config.h"
#include "client/output.h"
#include "client/subject.h"

static bool given(const struct context *c, enum opt_code o)
{
    return c->args.value[o] != NULL;
}

/* NAME belongs to machines; a person's name never goes to the service. */
static int check_kind(struct context *c, const char *kind)
{
    bool human = strcmp(kind, "human") == 0;
    struct err why = {0};

    if (!human && strcmp(kind, "ci") != 0 && strcmp(kind, "service") != 0)
        return kms_fail_text(&c->error, KMS_USAGE, "--kind is ci, service or human, not '%s'", kind);
    if (human && !c->args.n_ssh)
        return kms_fail_text(&c->error, KMS_USAGE, "a person needs an SSH key to sign changes with: --ssh FILE.pub");
    if (!human && (c->args.n_ssh || given(c, OPT_PEOPLE)))
        return kms_fail_text(&c->error, KMS_USAGE, "--ssh and --people are for --kind human");
    if (!human && !c->args.n_words)
        return kms_fail_text(&c->error, KMS_USAGE, "an identity of the kind %s needs a NAME", kind);
    if (!human)
        return name_check(c->args.word[0], "NAME", &why) ? kms_fail(&c->error, KMS_USAGE, &why) : 0;
    if (c->args.n_words && !given(c, OPT_PEOPLE))
        return kms_fail_text(&c->error, KMS_USAGE, "the service knows people by a random handle only, so that nobody's name is in the audit log: "
                                                   "leave NAME out, or give --people FILE to keep the handle and the name on this machine");
    if (c->args.n_words && utf8_check(c->args.word[0], strlen(c->args.word[0])))
        return kms_fail_text(&c->error, KMS_USAGE, "NAME is not UTF-8");
    if (!c->args.n_words && given(c, OPT_PEOPLE))
        return kms_fail_text(&c->error, KMS_USAGE, "--people keeps the NAME of a person: give one");
    return 0;
}

static int check_credential(struct context *c)
{
    int n = given(c, OPT_CSR) + given(c, OPT_CERT) + given(c, OPT_SPIFFE) + given(c, OPT_DNS);

    if (n != 1)
        return kms_fail_text(&c->error, KMS_USAGE, "give exactly one of --csr, --cert, --spiffe and --dns");
    if ((given(c, OPT_SPIFFE) || given(c, OPT_DNS)) != given(c, OPT_CA))
        return kms_fail_text(&c->error, KMS_USAGE, "--spiffe and --dns need --ca, the CA whose certificates count; nothing else takes it");
    if (!given(c, OPT_CSR) && (given(c, OPT_DAYS) || given(c, OPT_CERT_OUT)))
        return kms_fail_text(&c->error, KMS_USAGE, "--days and --cert-out go with --csr");
    return 0;
}

static int add_pem(struct context *c, json_t *body, const char *member, enum opt_code o, const char *label)
{
    BUF_AUTO pem = {0}, der = {0};
    struct err why = {0};
    const char *path = c->args.value[o];
    bool is_csr = o == OPT_CSR;

    if (api_pem(c, path, label, &pem, &der))
        return -1;
    if (is_csr && csr_check(buf_span(&der), NULL, &why)) {
        err_context(&why, "%s", path);
        return kms_fail(&c->error, KMS_REFUSED, &why);
    }
    if (o != OPT_CA && strcmp(c->args.value[OPT_KIND], "human") == 0 && subject_is_named(buf_span(&der), is_csr))
        output_note("%s has a subject, and the audit log keeps it for ever; for a person use an empty one (openssl req -new -subj /)", path);
    json_object_set_new(body, member, json_string(buf_str(&pem)));
    return 0;
}

static int add_credential(struct context *c, json_t *body)
{
    uint64_t days;

    if (given(c, OPT_CSR) && add_pem(c, body, "csr", OPT_CSR, "CERTIFICATE REQUEST"))
        return -1;
    if (given(c, OPT_CERT) && add_pem(c, body, "certificate", OPT_CERT, "CERTIFICATE"))
        return -1;
    if (given(c, OPT_CA) && add_pem(c, body, "ca", OPT_CA, "CERTIFICATE"))
        return -1;
    if (given(c, OPT_SPIFFE))
        json_object_set_new(body, "spiffe", json_string(c->args.value[OPT_SPIFFE]));
    if (given(c, OPT_DNS))
        json_object_set_new(body, "dns", json_string(c->args.value[OPT_DNS]));
    if (config_number(c, OPT_DAYS, 1, 398, 90, &days))
        return -1;
    if (given(c, OPT_DAYS))
        json_object_set_new(body, "days", json_integer((json_int_t)days));
    return 0;
}

/* SSH keys go without their comments, which are mostly names. */
static int add_ssh(struct context *c, json_t *body)
{
    JSON_AUTO *list = json_array();

    for (size_t i = 0; i < c->args.n_ssh; i++) {
        BUF_AUTO text = {0};
        char key[SSH_KEY_TEXT_MAX];
        struct err why = {0};

        if (api_file(c, c->args.ssh[i], 2 * SSH_KEY_TEXT_MAX, &text))
            return -1;
        while (text.len && (text.data[text.len - 1] == '\n' || text.data[text.len - 1] == '\r'))
            text.data[--text.len] = '\0';
        if (strlen(buf_str(&text)) != text.len)
            err_set(&why, ERR_BAD_REQUEST, "not an SSH public key");
        if (why.code || ssh_key_normalise(buf_str(&text), key, sizeof(key), &why)) {
            err_context(&why, "%s", c->args.ssh[i]);
            return kms_fail(&c->error, KMS_REFUSED, &why);
        }
        json_array_append_new(list, json_string(key));
    }
    if (c->args.n_ssh)
        json_object_set(body, "ssh", list);
    return 0;
}

/* Opened before the request: a handle that cannot be kept must not be made. */
static int open_people(struct context *c, int *fd)
{
    const char *path = c->args.value[OPT_PEOPLE];

    *fd = path ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600) : -1;
    if (path && *fd < 0)
        return kms_fail_text(&c->error, KMS_USAGE, "--people %s: %s", path, strerror(errno));
    return 0;
}

static int keep_person(struct context *c, int fd, const json_t *answer)
{
    const char *handle = json_string_value(json_object_get(json_object_get(answer, "identity"), "name"));
    BUF_AUTO line = BUF_INIT(16384);
    JSON_AUTO *j = json_pack("{s:s, s:s}", "handle", handle ? handle : "", "name", c->args.word[0]);

    if (j)
        json_canonical(&line, j);
    buf_putc(&line, '\n');
    if (!handle || !j || buf_ok(&line))
        return kms_fail_text(&c->error, KMS_REFUSED, "the identity was created, but the answer names no handle that could be kept");
    if (write(fd, line.data, line.len) != (ssize_t)line.len || fsync(fd))
        return kms_fail_text(&c->error, KMS_REFUSED, "the identity %s was created, but the file of people cannot be written: %s", handle,
                             strerror(errno));
    return 0;
}

static int create(struct context *c, const json_t *body, int people)
{
    KMS_ANSWER_AUTO a = {0};
    int failed;

    if (config_connect(c) || api_change(c, "/v1/identities", body, &a))
        return -1;
    failed = people >= 0 ? keep_person(c, people, a.json) : 0;
    /* Without --cert-out the certificate stays in the output. */
    if (given(c, OPT_CERT_OUT) && certfile_keep(c, c->args.value[OPT_CERT_OUT], json_string_value(json_object_get(body, "csr")), a.json))
        failed = -1;
    output_object(c, a.json);
    return failed;
}

int cmd_identity_create(struct context *c)
{
    JSON_AUTO *body = json_object();
    const char *kind;
    int people = -1, failed;

    if (!body || config_need(c, OPT_KIND, &kind) || check_kind(c, kind) || check_credential(c) || add_credential(c, body) || add_ssh(c, body) ||
        (given(c, OPT_CERT_OUT) && certfile_check(c, c->args.value[OPT_CERT_OUT])))
        return -1;
    json_object_set_new(body, "kind", json_string(kind));
    if (strcmp(kind, "human") != 0)
        json_object_set_new(body, "name", json_string(c->args.word[0]));
    if (open_people(c, &people))
        return -1;
    failed = create(c, body, people);
    if (people >= 0)
        close(people);
    return failed;
}
