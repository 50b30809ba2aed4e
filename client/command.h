/* What a subcommand of kmsctl is: its words, its options, its help, its function. */
#ifndef KMS_CLIENT_COMMAND_H
#define KMS_CLIENT_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

#include "client/call.h"

/* X(code, name, argument or NULL, help): every option of every command; a command lists the ones it takes. */
#define OPTION_TABLE(X) \
    X(ADDR, "addr", "URL", "address of the ci door, https://HOST:PORT [KMS_ADDR]") \
    X(ADMIN_ADDR, "admin-addr", "URL", "address of the administration door [KMS_ADMIN_ADDR]") \
    X(CACERT, "cacert", "FILE", "the certificates (PEM) that the service must chain to [KMS_CACERT]") \
    X(CLIENT_CERT, "client-cert", "FILE", "your certificate (PEM); also --cert where that has no other meaning [KMS_CERT]") \
    X(KEY_FILE, "key-file", "FILE", "private key of your certificate (PEM) [KMS_KEY]") \
    X(SSH_KEY, "ssh-key", "FILE", "SSH key that signs changes; the .pub file for a key in an agent [KMS_SSH_KEY]") \
    X(OUTPUT, "output", "table|json", "form of the output (table on a terminal, else json)") \
    X(TIMEOUT, "timeout", "SECONDS", "for a call with all its repetitions (60)") \
    X(RETRIES, "retries", "N", "repetitions after 503, timeouts and lost connections (5)") \
    X(HELP, "help", NULL, "show this help") \
    X(CERT_ALIAS, "cert", "FILE", NULL) \
    X(VERSION, "version", "VERSION", "version of the release (SemVer 2.0)") \
    X(KEY, "key", "NAME", "name of the release key [KMS_SIGN_KEY]") \
    X(APP, "app", "APP", "the app [KMS_APP for sign and release]") \
    X(CHANNEL, "channel", "CHANNEL", "the channel [KMS_CHANNEL for sign and release]") \
    X(NAME, "name", "NAME", "name of the artifact (sign: the base name of FILE)") \
    X(DIGEST, "digest", "HASH:HEX", "digest computed elsewhere (sha256:…), instead of FILE") \
    X(HASH, "hash", "sha256|sha384", "hash of FILE that goes to the service (sha256; p384 keys of the scheme digest take sha384)") \
    X(RAW, "raw", NULL, "an ECDSA signature over a digest: write r and s one behind the other instead of DER") \
    X(SIZE, "size", "BYTES", "size of the artifact that --digest is of") \
    X(SOURCE, "source", "TEXT", "what it was built from, as you claim") \
    X(DRY_RUN, "dry-run", NULL, "ask whether it would be allowed; nothing is signed") \
    X(IDEMPOTENCY_KEY, "idempotency-key", "TEXT", "same text on a repetition = same answer (random); of several FILEs: in the same order") \
    X(OUTPUT_FILE, "output-file", "FILE", "where the envelope (FILE.dsse.json) or signature (FILE.sig) goes; - is standard output") \
    X(PUB, "pub", "FILE", "public key (PEM) of the release key, from a source you trust") \
    X(ALLOW_DEV, "allow-dev", NULL, "accept statements of a development server") \
    X(SIGNATURE_OUT, "signature-out", "FILE", "write the raw signature there") \
    X(ALGORITHM, "algorithm", "NAME", "p256 (default), p384, rsa-2048, rsa-3072, rsa-4096 or ed25519") \
    X(SCHEME, "scheme", "NAME", "statement (default), digest, or digest-pkcs1 (RSA)") \
    X(FORMAT, "format", "pem|jwk|jwks|ssh", "form of the public key (pem)") \
    X(REASON, "reason", "TEXT", "why; kept in the audit log") \
    X(DELAY_HOURS, "delay-hours", "N", "how far ahead, 24 to 8760 (24)") \
    X(DELAY_SECONDS, "delay-seconds", "N", "the same in seconds; development instances only") \
    X(SEQ, "seq", "N", "number of a record of the audit log") \
    X(EVENT, "event", "EVENT", "what happened, such as sign.release") \
    X(OUTCOME, "outcome", "WORD", "how it ended: ok, denied, error or intent") \
    X(ACTOR, "actor", "NAME", "who did it: an identity, or the handle of a person") \
    X(REQUEST, "request", "ID", "the X-Request-Id of an answer") \
    X(SINCE, "since", "TIME", "not before, such as 2026-03-03 or 2026-03-03T08:09:10Z (UTC)") \
    X(UNTIL, "until", "TIME", "before") \
    X(LIMIT, "limit", "N", "records at most (search: 100; follow: no end)") \
    X(OLDEST, "oldest-first", NULL, "the oldest records first instead of the newest") \
    X(AFTER, "after", "SEQ", "begin behind this record instead of behind the newest") \
    X(REMOTE, "remote", NULL, "let the service check it too") \
    X(KIND, "kind", "ci|service|human", "what the identity is") \
    X(CSR, "csr", "FILE", "certificate signing request (PEM): the service issues the certificate") \
    X(DAYS, "days", "N", "validity of the issued certificate, 1 to 398 (90)") \
    X(CERT_OUT, "cert-out", "FILE", "where the issued certificate goes (standard output)") \
    X(CERT, "cert", "FILE", "certificate (PEM) that the identity has already") \
    X(SPIFFE, "spiffe", "URI", "SPIFFE id in the identity's certificates, with --ca") \
    X(DNS, "dns", "NAME", "DNS name in the identity's certificates, with --ca") \
    X(CA, "ca", "FILE", "the CA certificate (PEM) under which --spiffe or --dns counts") \
    X(SSH, "ssh", "FILE.pub", "SSH public key of a person; may be repeated") \
    X(PEOPLE, "people", "FILE", "local file that keeps who a handle is; the name never leaves this machine")

enum opt_code {
#define X(code, name, arg, help) OPT_##code,
    OPTION_TABLE(X)
#undef X
    OPT_COUNT
};
#define OPT_LAST_COMMON OPT_HELP   /* the options up to this one belong to every command */
#define OPT_LIST_MAX 16
#define OPT_REPEAT_MAX 8

struct option_info {
    const char *name, *arg, *help;
};
extern const struct option_info option_table[OPT_COUNT];

/* What was given on the command line; texts borrowed from argv. */
struct args {
    const char *value[OPT_COUNT];        /* "" for a given option without argument, NULL = absent */
    const char *ssh[OPT_REPEAT_MAX];
    size_t n_ssh;
    char **word;                         /* positional arguments */
    int n_words;
};

struct command;
/* A running command. */
struct context {
    const struct command *command;
    struct args args;
    bool json;                           /* --output json */
    struct kms *kms;                     /* after config_connect */
    struct kms_error error;              /* why run() returned -1 */
};
struct command {
    const char *noun, *verb;             /* verb NULL: the noun alone is the command */
    const char *words;                   /* positional arguments for the help */
    int min_words, max_words;            /* max -1 = any number */
    const char *summary;                 /* one line */
    const char *details;                 /* paragraphs and examples */
    unsigned char options[OPT_LIST_MAX]; /* enum opt_code, up to the first 0 */
    int (*run)(struct context *c);       /* 0, or -1 with c->error filled */
};
extern const struct command command_table[];
extern const size_t command_count;

int cmd_sign(struct context *c);
int cmd_verify(struct context *c);
int cmd_statement_pae(struct context *c);
int cmd_statement_show(struct context *c);
int cmd_status(struct context *c);
int cmd_whoami(struct context *c);
int cmd_renew(struct context *c);
int cmd_key_create(struct context *c);
int cmd_key_list(struct context *c);
int cmd_key_show(struct context *c);
int cmd_key_public(struct context *c);
int cmd_key_jwks(struct context *c);
int cmd_key_suspend(struct context *c);
int cmd_key_resume(struct context *c);
int cmd_key_retire(struct context *c);
int cmd_key_compromise(struct context *c);
int cmd_key_destroy(struct context *c);
int cmd_key_restore(struct context *c);
int cmd_release_withdraw(struct context *c);
int cmd_time_confirm(struct context *c);
int cmd_audit_search(struct context *c);
int cmd_audit_show(struct context *c);
int cmd_audit_follow(struct context *c);
int cmd_audit_download(struct context *c);
int cmd_policy_apply(struct context *c);
int cmd_policy_show(struct context *c);
int cmd_policy_check(struct context *c);
int cmd_identity_create(struct context *c);
int cmd_identity_list(struct context *c);
int cmd_identity_show(struct context *c);
int cmd_identity_disable(struct context *c);
int cmd_identity_enable(struct context *c);

#endif
