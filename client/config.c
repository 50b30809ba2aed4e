/* Options over environment variables. */
#include "client/config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/num.h"
#include "client/output.h"
#include "client/owncert.h"

static const char *const variables[OPT_COUNT] = {
    [OPT_ADDR] = "KMS_ADDR",       [OPT_ADMIN_ADDR] = "KMS_ADMIN_ADDR", [OPT_CACERT] = "KMS_CACERT",
    [OPT_CLIENT_CERT] = "KMS_CERT", [OPT_KEY_FILE] = "KMS_KEY",          [OPT_SSH_KEY] = "KMS_SSH_KEY",
    [OPT_KEY] = "KMS_SIGN_KEY",    [OPT_APP] = "KMS_APP",               [OPT_CHANNEL] = "KMS_CHANNEL",
};

const char *config_text(const struct context *c, enum opt_code o)
{
    const char *env;

    if (c->args.value[o])
        return c->args.value[o];
    env = variables[o] ? getenv(variables[o]) : NULL;
    return env && env[0] ? env : NULL;
}

int config_need(struct context *c, enum opt_code o, const char **out)
{
    *out = config_text(c, o);
    if (*out)
        return 0;
    if (variables[o])
        return kms_fail_text(&c->error, KMS_USAGE, "--%s is missing (or the environment variable %s)", option_table[o].name, variables[o]);
    return kms_fail_text(&c->error, KMS_USAGE, "--%s is missing", option_table[o].name);
}

int config_number(struct context *c, enum opt_code o, uint64_t min, uint64_t max, uint64_t dflt, uint64_t *out)
{
    const char *text = config_text(c, o);

    *out = dflt;
    if (!text || num_parse_u64(text, strlen(text), min, max, out) == 0)
        return 0;
    return kms_fail_text(&c->error, KMS_USAGE, "--%s takes a number from %llu to %llu, not '%s'", option_table[o].name, (unsigned long long)min,
                         (unsigned long long)max, text);
}

int config_output(struct context *c)
{
    const char *form = config_text(c, OPT_OUTPUT);

    if (form && strcmp(form, "json") != 0 && strcmp(form, "table") != 0)
        return kms_fail_text(&c->error, KMS_USAGE, "--output is table or json, not '%s'", form);
    c->json = form ? strcmp(form, "json") == 0 : !isatty(STDOUT_FILENO);
    return 0;
}

/* A file that cannot be read is said by name; libcurl would not. */
static int need_file(struct context *c, enum opt_code o, const char **out)
{
    if (config_need(c, o, out))
        return -1;
    if (access(*out, R_OK) == 0)
        return 0;
    return kms_fail_text(&c->error, KMS_USAGE, "--%s %s: %s", option_table[o].name, *out, strerror(errno));
}

static void print_notice(void *ctx, const char *text)
{
    (void)ctx;
    output_note("%s", text);
}

int config_connect(struct context *c)
{
    struct kms_options o = {.addr = config_text(c, OPT_ADDR), .notice = print_notice};
    const char *admin_addr = config_text(c, OPT_ADMIN_ADDR);
    uint64_t timeout, retries;

    if (!o.addr && !admin_addr)
        return kms_fail_text(&c->error, KMS_USAGE,
                             "the address of the service is missing: --addr or KMS_ADDR (ci door), --admin-addr or KMS_ADMIN_ADDR");
    if (need_file(c, OPT_CACERT, &o.cacert) || need_file(c, OPT_CLIENT_CERT, &o.cert) || need_file(c, OPT_KEY_FILE, &o.key) ||
        config_number(c, OPT_TIMEOUT, 1, KMS_TIMEOUT_MAX, KMS_TIMEOUT_DEFAULT, &timeout) ||
        config_number(c, OPT_RETRIES, 0, KMS_RETRIES_MAX, KMS_RETRIES_DEFAULT, &retries))
        return -1;
    owncert_warn(c);
    o.timeout = (unsigned)timeout;
    o.retries = (unsigned)retries;
    c->kms = kms_open(&o, &c->error);
    return c->kms ? kms_administer(c->kms, admin_addr, config_text(c, OPT_SSH_KEY), &c->error) : -1;
}
