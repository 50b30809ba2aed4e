/* Creating an instance: directory, settings, tokens, certificates, and the first record of its log. */
#ifndef KMS_SUPERVISOR_INSTANCE_H
#define KMS_SUPERVISOR_INSTANCE_H

#include "audit/record.h"
#include "kmsd/settings.h"
#include "kmsd/supervisor/account.h"

#define FOUNDERS_MAX 8
#define ADMIN_HANDLE 19 /* "h-", 16 hexadecimal digits, NUL */

struct instance_plan {
    const char *dir;
    const char *origin;                       /* name of the instance */
    const char *mode;                         /* "dev" or "production" */
    const char *listen_ci, *listen_admin;     /* ADDRESS:PORT */
    const char *module;                       /* PKCS#11 module, NULL = SoftHSM */
    const char *admin_csr;                    /* file, or NULL with admin_cert set */
    const char *admin_cert;
    const char *admin_out;                    /* where an issued certificate goes (PEM) */
    const char *admin_ssh[FOUNDERS_MAX];      /* public key files: the first administrator's */
    unsigned n_admin_ssh;
    struct span policy;                       /* YAML text */
};
/* Creates everything or says why not. kmsd.yaml appears last: where it stands, the instance is whole. handle receives the first administrator's handle. */
int instance_create(const struct instance_plan *plan, char handle[static ADMIN_HANDLE], struct err *e) __attribute__((warn_unused_result));
/* A new name for an administrator: it says nothing of the person. */
int admin_handle(char out[static ADMIN_HANDLE], struct err *e) __attribute__((warn_unused_result));

/* A development instance is not served as a production one: its keys and policy were made for trying things out. */
int instance_check_mode(const struct settings *settings, bool allow_dev, struct err *e) __attribute__((warn_unused_result));
/* Nor does kmsd dev, which makes keys and identities, touch a production one. */
int instance_check_dev(const struct settings *settings, struct err *e) __attribute__((warn_unused_result));

/* Example policies built into the program: "bootstrap", "dev". */
struct span example_policy(const char *name);

/* A P-256 private key (PEM, 0600) and a signing request for it (PEM), for the development server. */
int keyfile_make(const char *key_file, const char *csr_file, struct err *e) __attribute__((warn_unused_result));

/* Runs a program and waits for it; out (may be NULL) receives its standard output. env entries are NAME=VALUE, NULL-terminated, added to ours (may be NULL).
 * Returns its exit code, or -1 when it could not be run. */
int program_run(const char *const argv[], const char *const env[], struct buf *out, struct err *e) __attribute__((warn_unused_result));
/* The same as another account. */
int program_run_as(const char *const argv[], const struct account *as, struct buf *out, struct err *e) __attribute__((warn_unused_result));
/* Path of a program beside this one: "../libexec/kmsd/NAME" (or $KMSD_LIBEXEC/NAME) for libexec, else "NAME" in our own directory. */
int program_path(const char *name, bool libexec, char *out, size_t size, struct err *e) __attribute__((warn_unused_result));

#endif
