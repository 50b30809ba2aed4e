/* `kmsd check`: says in words what is wrong with an instance. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "audit/logdir.h"
#include "base/fsutil.h"
#include "base/secret.h"
#include "base/x509.h"
#include "kmsd/settings.h"
#include "kmsd/supervisor/account.h"
#include "kmsd/supervisor/anchorlook.h"
#include "kmsd/supervisor/commands.h"
#include "kmsd/supervisor/instance.h"
#include "kmsd/supervisor/offline.h"

#define SOON_US (30 * 86400 * INT64_C(1000000))

struct report {
    const struct settings *s;
    unsigned problems;
};

static void problem(struct report *r, const char *area, const char *detail)
{
    printf("problem  %-10s %s\n", area, detail);
    r->problems++;
}

static void good(const char *area, const char *text)
{
    printf("ok       %-10s %s\n", area, text);
}

static void check_private(struct report *r, const char *area, const char *path)
{
    struct stat st;
    BUF_AUTO text = BUF_INIT(8192);

    if (lstat(path, &st)) {
        buf_printf(&text, "%s: %s", path, strerror(errno));
        problem(r, area, buf_str(&text));
    } else if (!S_ISREG(st.st_mode) || (st.st_mode & 077)) {
        buf_printf(&text, "%s may be read by others: chmod 0600 %s", path, path);
        problem(r, area, buf_str(&text));
    } else {
        good(area, path);
    }
}

static void check_certificate(struct report *r, const char *path)
{
    BUF_AUTO pem = BUF_INIT(65536), der = BUF_INIT(65536), text = BUF_INIT(8192);
    struct cert_facts f;
    struct err e = {0};
    int64_t now = clock_wall_us();

    if (file_read(path, &pem, &e) || pem_to_der(buf_span(&pem), "CERTIFICATE", &der, &e) || cert_facts(buf_span(&der), &f, &e)) {
        buf_printf(&text, "%s: %s", path, e.detail);
        problem(r, "tls", buf_str(&text));
    } else if (f.not_after <= now || f.not_after - now < SOON_US) {
        buf_printf(&text, "%s %s: renew it", path, f.not_after <= now ? "has expired" : "expires within 30 days");
        problem(r, "tls", buf_str(&text));
    } else {
        good("tls", path);
    }
}

/* A credential is there for the service only, so its absence here says nothing. */
static void check_pin(struct report *r, const char *area, const struct token_settings *t)
{
    BUF_AUTO text = BUF_INIT(8192);
    SECRET_AUTO pin = {0};
    struct err e = {0};

    if (*t->pin_file) {
        check_private(r, area, t->pin_file);
        buf_printf(&text, "%s.new", t->pin_file);
        if (file_exists(buf_str(&text)))
            problem(r, area, "a change of the PIN was interrupted: run kmsd change-pin again");
    } else if (!getenv("CREDENTIALS_DIRECTORY")) {
        buf_printf(&text, "the PIN is the credential %s of the service, which is not visible here", t->pin_credential);
        good(area, buf_str(&text));
    } else if (secret_read_credential(&pin, t->pin_credential, &e)) {
        problem(r, area, e.detail);
    } else {
        good(area, t->pin_credential);
    }
}

static void check_token(struct report *r, const char *area, const struct token_settings *t)
{
    BUF_AUTO text = BUF_INIT(8192);

    if (access(t->module, R_OK)) {
        buf_printf(&text, "PKCS#11 module %s: %s; install it (softhsm2) or correct the setting", t->module, strerror(errno));
        problem(r, area, buf_str(&text));
    } else {
        good(area, t->module);
    }
    check_pin(r, area, t);
    if (t->softhsm_conf[0] && access(t->softhsm_conf, R_OK)) {
        buf_printf(&text, "%s: %s", t->softhsm_conf, strerror(errno));
        problem(r, area, buf_str(&text));
    }
}

static void check_latch(struct report *r)
{
    BUF_AUTO text = BUF_INIT(8192), said = BUF_INIT(1024);
    char path[PATH_MAX];
    struct err e = {0};

    if (settings_latch(r->s, path, sizeof path) || !file_exists(path))
        return;
    if (file_read(path, &said, &e))
        buf_clear(&said);
    buf_printf(&text, "%.*s: correct the PIN, then run kmsd unseal", (int)strcspn(buf_str(&said), "\n"), buf_str(&said));
    problem(r, "sealed", buf_str(&text));
}

static void check_owner(struct report *r, enum child_role role, const char *path)
{
    BUF_AUTO text = BUF_INIT(8192);
    struct account a;
    struct stat st;
    struct err e = {0};

    if (account_of(r->s, role, &a, &e))
        problem(r, "users", e.detail);
    else if (a.set && *path && !stat(path, &st) && st.st_uid != a.uid) {
        buf_printf(&text, "%s does not belong to the account of its processes: chown -R %u:%u %s", path, a.uid, a.gid, path);
        problem(r, "users", buf_str(&text));
    }
}

static void check_owners(struct report *r)
{
    const struct {
        enum child_role role;
        const char *path;
    } rows[] = {{CHILD_CORE, r->s->audit_dir}, {CHILD_CORE, r->s->snapshots_dir}, {CHILD_CORE, r->s->anchor},   {CHILD_FRONT_CI, r->s->tls_key},
                {CHILD_LANE_SIGN, r->s->tokens_lock}, {CHILD_LANE_SIGN, r->s->keys.pin_file}, {CHILD_LANE_SIGN, r->s->keys.sync}, {CHILD_READER, r->s->index}};

    for (size_t n = 0; n < sizeof rows / sizeof *rows; n++)
        check_owner(r, rows[n].role, rows[n].path);
}

/* Reads only: the whole check of a log is kms-audit's work. */
static void check_log(struct report *r)
{
    BUF_AUTO text = BUF_INIT(8192);
    struct err e = {0};

    if (instance_check_mode(r->s, true, &e)) {
        problem(r, "log", e.detail);
        return;
    }
    buf_printf(&text, "%s begins as it should; kms-audit verify %s checks all of it", r->s->audit_dir, r->s->dir);
    good("log", buf_str(&text));
}

static void check_anchor(struct report *r)
{
    BUF_AUTO text = BUF_INIT(8192);
    struct anchor_look l;
    struct err e = {0};
    enum anchor_file_state state;

    if (anchor_look(r->s, &l, &e)) {
        problem(r, "anchor", e.detail);
    } else if (l.file > ANCHOR_FILE_HALF) {
        (void)!anchor_file_need(r->s->anchor, &l.anchor, &state, &e);
        problem(r, "anchor", e.detail);
    } else if (l.verdict != ANCHOR_HOLDS) {
        (void)anchor_refuse(&l.anchor, l.verdict, "the anchor", l.records, &e);
        problem(r, "anchor", e.detail);
    } else {
        buf_printf(&text, "%s names record %llu, which the log holds%s", r->s->anchor, (unsigned long long)l.anchor.seq,
                   l.file == ANCHOR_FILE_HALF ? "; one of its slots is damaged, the next writing heals it" : "");
        good("anchor", buf_str(&text));
    }
}

static int only_snapshots(const struct dirent *d)
{
    return logdir_is_segment(d->d_name); /* named alike */
}

/* Which of them the log names, a start finds out. */
static void check_snapshots(struct report *r)
{
    BUF_AUTO text = BUF_INIT(8192);
    struct dirent **names = NULL;
    int n = scandir(r->s->snapshots_dir, &names, only_snapshots, alphasort);

    if (n < 0 && errno != ENOENT) {
        buf_printf(&text, "%s: %s", r->s->snapshots_dir, strerror(errno));
        problem(r, "snapshots", buf_str(&text));
        return;
    }
    buf_printf(&text, "%s: %s", r->s->snapshots_dir, n > 0 ? "" : "none yet; a start reads the whole log");
    for (int i = 0; i < n; i++) {
        buf_printf(&text, "%s%s", i ? ", " : "", names[i]->d_name);
        free(names[i]);
    }
    free(names);
    good("snapshots", buf_str(&text));
}

/* Its directory is the one place that the process may write which answers searches. */
static void check_index(struct report *r)
{
    const char *const taken[] = {r->s->dir, r->s->audit_dir, r->s->snapshots_dir};
    BUF_AUTO text = BUF_INIT(8192);
    size_t n = strlen(r->s->index) - strlen(strrchr(r->s->index, '/'));

    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++)
        if (strlen(taken[i]) == n && !strncmp(taken[i], r->s->index, n)) {
            buf_printf(&text, "%s lies in %s; give the index a directory of its own (reader.index: index/state.db)", r->s->index, taken[i]);
            problem(r, "index", buf_str(&text));
            return;
        }
    buf_printf(&text, "%s%s", r->s->index, file_exists(r->s->index) ? "" : ": none yet; it is made from the log");
    good("index", buf_str(&text));
}

static const char USAGE[] = "usage: kmsd check (--settings FILE | --dir DIR)\n\nSays what is wrong with settings, tokens, certificates and log, and how to cure it. Changes nothing.\n";

int command_check(int argc, char **argv)
{
    struct settings s;
    struct report r = {.s = &s};
    struct err e = {0};
    int code = offline_settings(argc, argv, USAGE, &s, &e);

    if (code >= 0)
        return code;
    if (e.code) {
        problem(&r, "settings", e.detail);
        return 1;
    }
    good("settings", s.file);
    check_token(&r, "keys", &s.keys);
    check_token(&r, "checkpoint", &s.checkpoint);
    check_latch(&r);
    check_owners(&r);
    check_private(&r, "tls", s.tls_key);
    check_certificate(&r, s.tls_certificate);
    for (unsigned n = 0; n < s.n_client_ca; n++)
        check_certificate(&r, s.client_ca[n]);
    check_log(&r);
    check_snapshots(&r);
    check_index(&r);
    check_anchor(&r);
    printf("%u problem%s\n", r.problems, r.problems == 1 ? "" : "s");
    return r.problems ? 1 : 0;
}
