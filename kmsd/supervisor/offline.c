/* What the commands share that an operator runs beside the service or while it is stopped. */
#include "kmsd/supervisor/offline.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fsutil.h"
#include "base/json.h"
#include "kmsd/supervisor/instance.h"

#define LOCK_WAIT_MS 200
#define WORDS_MAX 16
#define REASON_TEXT_MAX 256

int offline_usage(char *const argv[], const char *usage, const char *why)
{
    if (why)
        fprintf(stderr, "%s: %s\n", argv[0], why);
    fputs(usage, stderr);
    return 2;
}

int offline_settings(int argc, char **argv, const char *usage, struct settings *s, struct err *e)
{
    static const struct option options[] = {
        {"settings", required_argument, NULL, 's'}, {"dir", required_argument, NULL, 'd'}, {"help", no_argument, NULL, 'h'}, {0}};
    char file[PATH_MAX] = "";
    int opt;

    while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (opt == 'h')
            return fputs(usage, stdout), 0;
        if (opt != 's' && opt != 'd')
            return offline_usage(argv, usage, NULL);
        if (path_join(file, sizeof file, opt == 'd' ? optarg : "", opt == 'd' ? "kmsd.yaml" : optarg))
            return offline_usage(argv, usage, "the path is too long");
    }
    if (optind != argc)
        return offline_usage(argv, usage, "there is an argument that is no option");
    if (!file[0])
        return offline_usage(argv, usage, "which instance? --dir or --settings is missing");
    (void)!settings_load(file, s, e);
    return -1;
}

int offline_reason(const char *text, struct err *e)
{
    size_t n = strlen(text);

    if (!n || n > REASON_TEXT_MAX || utf8_check(text, n))
        return err_set(e, ERR_BAD_REQUEST, "--reason must be a text of 1 to %d bytes", REASON_TEXT_MAX);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            return err_set(e, ERR_BAD_REQUEST, "--reason must be one line without control characters");
    return 0;
}

int offline_not_sealed(const struct settings *s, struct err *e)
{
    char latch[PATH_MAX];

    if (settings_latch(s, latch, sizeof latch))
        return err_set(e, ERR_BAD_REQUEST, "the path of tokens.lock is too long");
    return file_exists(latch) ? err_set(e, ERR_BAD_REQUEST, "a token refused its PIN: correct the PIN, then run kmsd unseal") : 0;
}

int offline_account(const struct settings *s, struct account *out, struct err *e)
{
    *out = (struct account){0};
    return geteuid() ? 0 : account_of(s, CHILD_CORE, out, e);
}

int offline_owner(const struct settings *s, struct err *e)
{
    struct account core;
    struct stat st;

    if (stat(s->audit_dir, &st))
        return err_errno(e, ERR_LOG_UNAVAILABLE, errno, "%s", s->audit_dir);
    if (offline_account(s, &core, e))
        return -1;
    return st.st_uid == (core.set ? core.uid : geteuid()) ? 0 :
           err_set(e, ERR_FORBIDDEN, "%s belongs to the user with number %u: run this command as that user, or put right whose it is",
                   s->audit_dir, st.st_uid);
}

/* Where there is none yet it is made: by its owner, whom another's would lock out for good. */
static int lock_log(const struct settings *s, const char *path, struct err *e)
{
    struct account core;
    int fd;

    if (offline_account(s, &core, e) || account_enter(&core, e))
        return -1;
    fd = lock_file(path, LOCK_WAIT_MS, e);
    account_leave(&core);
    return fd;
}

int offline_lock(const struct settings *s, struct err *e)
{
    char own[PATH_MAX], log[PATH_MAX];

    if (path_join(own, sizeof own, s->dir, "lock") || path_join(log, sizeof log, s->audit_dir, "lock"))
        return err_set(e, ERR_BAD_REQUEST, "the path of the instance is too long");
    return lock_file(own, LOCK_WAIT_MS, e) < 0 || lock_log(s, log, e) < 0 ? err_context(e, "stop the service first") : 0;
}

int offline_token(const struct settings *s, const char *const more[], struct buf *out, struct err *e)
{
    char program[PATH_MAX];
    const char *argv[WORDS_MAX] = {program, "--settings", s->file};
    struct account account = {0};
    int n = 3, code;

    for (; *more; more++) {
        if (n == WORDS_MAX - 1)
            return err_set(e, ERR_INTERNAL, "too many words for kmsd-token");
        argv[n++] = *more;
    }
    if ((!geteuid() && account_of(s, CHILD_LANE_ADMIN, &account, e)) || program_path("kmsd-token", true, program, sizeof program, e))
        return -1;
    code = program_run_as(argv, &account, out, e);
    return code ? code < 0 ? -1 : err_set(e, ERR_TOKEN_UNAVAILABLE, "kmsd-token refused; its line above says why") : 0;
}
