/* kmsd.yaml: the settings of one instance, read strictly through one schema table. */
#ifndef KMS_KMSD_SETTINGS_H
#define KMS_KMSD_SETTINGS_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/log.h"

#define SETTINGS_CA_MAX 8
#define SETTINGS_TEXT 256
#define SETTINGS_URI 1024
#define SETTINGS_TOKEN_PATHS_MAX 8

enum settings_sandbox { SETTINGS_SANDBOX_AUTO, SETTINGS_SANDBOX_REQUIRED, SETTINGS_SANDBOX_OFF };
enum settings_switch { SETTINGS_OFF, SETTINGS_ON };
#define LANES_MAX 8
#define SIGN_AHEAD_MAX 64

/* What kind of token it is, where that matters to how keys are made. TOKEN_TYPE_AUTO: the token process finds out. */
enum token_type { TOKEN_TYPE_AUTO, TOKEN_TYPE_SOFTHSM, TOKEN_TYPE_TPM2, TOKEN_TYPE_NSS, TOKEN_TYPE_OPENCRYPTOKI, TOKEN_TYPE_GENERIC };

struct token_settings {
    char module[PATH_MAX];         /* PKCS#11 module */
    char label[33];                /* CKA token label, "" = chosen by its URI */
    char uri[SETTINGS_URI];        /* PKCS#11 URI (RFC 7512), "" = chosen by its label */
    char uri_at[SETTINGS_TEXT];    /* "file:line:col" of it, for who can judge the whole of it */
    char pin_file[PATH_MAX];       /* "" = the PIN is a credential */
    char pin_credential[SETTINGS_TEXT]; /* its name in $CREDENTIALS_DIRECTORY */
    char softhsm_conf[PATH_MAX];   /* "" = not SoftHSM; else exported as SOFTHSM2_CONF in the token processes */
    char initialise[SETTINGS_URI]; /* text handed to C_Initialize (pReserved), "" = none */
    uint64_t type;                 /* enum token_type */
    uint64_t lanes;                /* signing lanes, 0 = one per processor */
    enum settings_switch session_copies; /* new P-256 release keys can be copied into a session; those that can, are */
    uint64_t sign_ahead;           /* signatures that a lane begins before they are asked for, at most */
    char sync[PATH_MAX];           /* directory to syncfs after key generation, "" = none */
    char paths[SETTINGS_TOKEN_PATHS_MAX][PATH_MAX]; /* what a module other than SoftHSM reads and writes */
    unsigned n_paths;
};
/* Paths are absolute after loading (relative ones count from the file's directory). */
struct settings {
    char file[PATH_MAX], dir[PATH_MAX];
    char instance[SETTINGS_TEXT];
    char listen_ci[SETTINGS_TEXT], listen_admin[SETTINGS_TEXT];  /* "ADDRESS:PORT" or "[v6]:PORT", numeric address */
    char listen_health[SETTINGS_TEXT];  /* "unix:PATH", an address of the loopback, or "off" */
    char tls_certificate[PATH_MAX], tls_key[PATH_MAX];
    char client_ca[SETTINGS_CA_MAX][PATH_MAX];
    unsigned n_client_ca;
    char tokens_lock[PATH_MAX];
    struct token_settings keys, checkpoint;
    char user_core[33], user_front[33], user_token[33], user_reader[33]; /* accounts of the processes, "" = who starts kmsd */
    char audit_dir[PATH_MAX];
    char anchor[PATH_MAX];         /* file; "anchor/anchor" where the settings name none */
    char snapshots_dir[PATH_MAX];
    uint64_t snapshot_records;
    char index[PATH_MAX];          /* file of the reader; "index/state.db" where the settings name none */
    uint64_t connections, connections_per_peer, request_seconds, body_bytes;
    enum settings_sandbox sandbox;
    enum log_format log_format;
    enum log_level log_level;
};
/* ERR_BAD_REQUEST with file:line:col and a cure. */
int settings_load(const char *file, struct settings *out, struct err *e) __attribute__((warn_unused_result));
/* What messages call this token, and where its PIN comes from. */
const char *settings_token_name(const struct token_settings *t);
const char *settings_pin_place(const struct token_settings *t);
/* How many signing lanes run: at most LANES_MAX, one per processor unless set. */
unsigned settings_lanes(const struct settings *s);
/* The file beside tokens.lock that says that a token refused its PIN; as long as it is there no PIN is tried. */
int settings_latch(const struct settings *s, char *out, size_t size) __attribute__((warn_unused_result));
/* One row of the schema, for people: `values` says what it takes, such as "number, 1000 to 10000000"; `unless` names the setting that may stand instead. */
struct settings_fact {
    const char *path, *values, *help, *unless;
    bool required, has_default;
    uint64_t dflt;
};
/* Every setting in the order of the schema. */
void settings_each(void (*each)(void *ctx, const struct settings_fact *fact), void *ctx);
/* Writes a fresh kmsd.yaml (used by init and dev). listen_* may have port 0. */
int settings_write(const char *file, const char *instance, const char *listen_ci, const char *listen_admin, const char *module, struct err *e) __attribute__((warn_unused_result));

#endif
