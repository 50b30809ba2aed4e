/* Prepares the directory of a development server, and what its clients need. */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fsutil.h"
#include "kmsd/supervisor/devserver.h"
#include "kmsd/supervisor/instance.h"

#define DEV_ORIGIN "dev.localhost"
#define DEV_KEY "release"
#define DEV_CI "ci-example"
#define DEV_APP "com.example.app"
#define DEV_CHANNEL "production"

int dev_path(const struct devserver *d, const char *name, char *out, size_t size, struct err *e)
{
    return path_join(out, size, d->dir, name) ? err_set(e, ERR_BAD_REQUEST, "the path %s is too long", d->dir) : 0;
}

/* A TCP port that is free at this moment. */
static int free_port(unsigned *port, struct err *e)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) || getsockname(fd, (struct sockaddr *)&a, &len)) {
        err_errno(e, ERR_INTERNAL, errno, "looking for a free port");
        if (fd >= 0)
            close(fd);
        return -1;
    }
    *port = ntohs(a.sin_port);
    close(fd);
    return 0;
}

/* "127.0.0.1:PORT" is the ci door; the administration door is the next port, or another free one. */
static int choose_ports(const struct devserver *d, struct buf *ci, struct buf *admin, struct err *e)
{
    const char *colon = strrchr(d->listen, ':');
    unsigned port = 0, second = 0;
    size_t host = colon ? (size_t)(colon - d->listen) : 0;

    if (!colon || (strncmp(d->listen, "127.", 4) && strncmp(d->listen, "[::1]", 5)))
        return err_set(e, ERR_BAD_REQUEST, "--listen %s: the development server listens on loopback only, for example 127.0.0.1:8443", d->listen);
    for (const char *p = colon + 1; *p >= '0' && *p <= '9' && port < 65536; p++)
        port = port * 10 + (unsigned)(*p - '0');
    if (colon[1 + strspn(colon + 1, "0123456789")] || !colon[1] || port > 65534)
        return err_set(e, ERR_BAD_REQUEST, "--listen %s: the port must be a number from 0 to 65534", d->listen);
    second = port + 1;
    if (!port && (free_port(&port, e) || free_port(&second, e)))
        return -1;
    buf_printf(ci, "%.*s:%u", (int)host, d->listen, port);
    buf_printf(admin, "%.*s:%u", (int)host, d->listen, second);
    return 0;
}

static int make_ssh_key(const char *path, struct err *e)
{
    const char *argv[] = {"ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", path, NULL};
    int code = file_exists(path) ? 0 : program_run(argv, NULL, NULL, e);

    return code ? (code < 0 ? -1 : err_set(e, ERR_INTERNAL, "ssh-keygen could not make %s", path)) : 0;
}

static int make_keys(struct devserver *d, struct err *e)
{
    char key[PATH_MAX], csr[PATH_MAX], ssh[PATH_MAX], ci[PATH_MAX], ci_csr[PATH_MAX];

    if (dev_path(d, "admin.key", key, sizeof key, e) || dev_path(d, "admin.csr", csr, sizeof csr, e) || dev_path(d, "admin_ssh", ssh, sizeof ssh, e) ||
        dev_path(d, "ci.key", ci, sizeof ci, e) || dev_path(d, "ci.csr", ci_csr, sizeof ci_csr, e))
        return -1;
    return keyfile_make(key, csr, e) || keyfile_make(ci, ci_csr, e) || make_ssh_key(ssh, e) ? -1 : 0;
}

static int make_instance(struct devserver *d, struct err *e)
{
    char csr[PATH_MAX], cert[PATH_MAX], ssh[PATH_MAX], handle[ADMIN_HANDLE];
    BUF_AUTO ci = BUF_INIT(128), admin = BUF_INIT(128);
    struct instance_plan plan = {.dir = d->dir, .origin = DEV_ORIGIN, .mode = "dev", .module = d->module, .n_admin_ssh = 1, .policy = example_policy("dev")};

    if (dev_path(d, "admin.csr", csr, sizeof csr, e) || dev_path(d, "admin.pem", cert, sizeof cert, e) ||
        dev_path(d, "admin_ssh.pub", ssh, sizeof ssh, e) || choose_ports(d, &ci, &admin, e))
        return -1;
    plan.listen_ci = buf_str(&ci);
    plan.listen_admin = buf_str(&admin);
    plan.admin_csr = csr;
    plan.admin_out = cert;
    plan.admin_ssh[0] = ssh;
    return make_keys(d, e) || instance_create(&plan, handle, e) ? -1 : 0;
}

static void put_env(struct buf *b, const struct devserver *d, const char *name, const char *prefix, const char *value)
{
    buf_printf(b, "export %s='%s%s%s'\n", name, prefix, *prefix == '/' ? "/" : "", value);
    (void)d;
}

/* The two files that a shell reads to become the administrator or the CI job. */
static int write_env(const struct devserver *d, const char *file, const char *who, bool admin, struct err *e)
{
    BUF_AUTO b = BUF_INIT(16384), cert = BUF_INIT(64), key = BUF_INIT(64);
    char path[PATH_MAX];

    buf_printf(&cert, "%s.pem", who);
    buf_printf(&key, "%s.key", who);
    put_env(&b, d, "KMS_ADDR", "https://", d->settings.listen_ci);
    put_env(&b, d, "KMS_ADMIN_ADDR", "https://", d->settings.listen_admin);
    if (!d->settings.listen_health[0])
        buf_printf(&b, "export KMS_HEALTH='unix:%s/health.sock'\n", d->dir);
    else if (strcmp(d->settings.listen_health, "off"))
        put_env(&b, d, "KMS_HEALTH", "", d->settings.listen_health);
    put_env(&b, d, "KMS_CACERT", d->dir, "tls/ca.pem");
    put_env(&b, d, "KMS_CERT", d->dir, buf_str(&cert));
    put_env(&b, d, "KMS_KEY", d->dir, buf_str(&key));
    if (admin) {
        put_env(&b, d, "KMS_SSH_KEY", d->dir, "admin_ssh");
    } else {
        put_env(&b, d, "KMS_SIGN_KEY", "", DEV_KEY);
        put_env(&b, d, "KMS_APP", "", DEV_APP);
        put_env(&b, d, "KMS_CHANNEL", "", DEV_CHANNEL);
    }
    return dev_path(d, file, path, sizeof path, e) || buf_ok(&b) || file_write_atomic(path, b.data, b.len, 0600, e) ? -1 : 0;
}

int dev_prepare(struct devserver *d, struct err *e)
{
    char settings[PATH_MAX];

    if (strchr(d->dir, '\''))
        return err_set(e, ERR_BAD_REQUEST, "the directory %s has a quote in its name", d->dir);
    if (dir_make(d->dir, 0750, e) || dev_path(d, "kmsd.yaml", settings, sizeof settings, e))
        return -1;
    if (!file_exists(settings) && make_instance(d, e))
        return -1;
    return settings_load(settings, &d->settings, e) || instance_check_dev(&d->settings, e) ||
           write_env(d, "env", "admin", true, e) || write_env(d, "ci.env", "ci", false, e) ? -1 : 0;
}

/* NAME=VALUE entries that make kmsctl the administrator. */
struct admin_env {
    char text[6][PATH_MAX + 32];
    const char *entry[7];
};

static void admin_env(const struct devserver *d, struct admin_env *a)
{
    const struct {
        const char *name, *prefix, *value;
    } rows[6] = {
        {"KMS_ADDR", "https://", d->settings.listen_ci},     {"KMS_ADMIN_ADDR", "https://", d->settings.listen_admin}, {"KMS_CACERT", d->dir, "/tls/ca.pem"},
        {"KMS_CERT", d->dir, "/admin.pem"}, {"KMS_KEY", d->dir, "/admin.key"},              {"KMS_SSH_KEY", d->dir, "/admin_ssh"},
    };

    memset(a, 0, sizeof *a);
    for (unsigned n = 0; n < 6; n++) {
        BUF_AUTO b = BUF_INIT(sizeof a->text[n] - 1);

        buf_printf(&b, "%s=%s%s", rows[n].name, rows[n].prefix, rows[n].value);
        memcpy(a->text[n], buf_str(&b), b.len + 1);
        a->entry[n] = a->text[n];
    }
}

static int ensure(const struct admin_env *env, const char *const probe[], const char *const make[], const char *what, struct err *e)
{
    BUF_AUTO quiet = BUF_INIT(1 << 20);
    struct err ignored = {0};
    int code = probe ? program_run(probe, env->entry, &quiet, &ignored) : 1;

    if (!code)
        return 0;
    buf_clear(&quiet);
    code = program_run(make, env->entry, &quiet, e);
    return code ? (code < 0 ? -1 : err_set(e, ERR_INTERNAL, "%s could not be created; the lines above say why", what)) : 0;
}

int dev_provision(struct devserver *d, struct err *e)
{
    char ctl[PATH_MAX], csr[PATH_MAX], cert[PATH_MAX];
    struct admin_env env;
    const char *key_make[] = {ctl, "key", "create", DEV_KEY, "--algorithm", "p256", "--scheme", "statement", NULL};
    const char *ci_make[] = {ctl, "identity", "create", DEV_CI, "--kind", "ci", "--csr", csr, "--cert-out", cert, NULL};
    const char *list_quiet[] = {"/bin/sh", "-c", "\"$0\" key show " DEV_KEY " >/dev/null 2>&1", ctl, NULL};

    if (program_path("kmsctl", false, ctl, sizeof ctl, e) || dev_path(d, "ci.csr", csr, sizeof csr, e) || dev_path(d, "ci.pem", cert, sizeof cert, e))
        return -1;
    admin_env(d, &env);
    if (ensure(&env, list_quiet, key_make, "the key " DEV_KEY, e))
        return -1;
    return file_exists(cert) ? 0 : ensure(&env, NULL, ci_make, "the identity " DEV_CI, e);
}
