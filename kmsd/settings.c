/* Reads kmsd.yaml through one schema table. */
#include "kmsd/settings.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fsutil.h"
#include "base/num.h"
#include "base/yaml.h"

enum kind { TEXT, PATH, NUMBER, PATHS, ORIGIN, WORD, FILE_NAME, TOKEN_URI, KEYS_PATHS, CHECKPOINT_PATHS, SANDBOX, LOG_FORMAT, LOG_LEVEL, SWITCH };
#define AT(member) offsetof(struct settings, member), sizeof(((struct settings *)0)->member)

static const char *const TYPES[] = {
    [TOKEN_TYPE_AUTO] = "auto", [TOKEN_TYPE_SOFTHSM] = "softhsm", [TOKEN_TYPE_TPM2] = "tpm2", [TOKEN_TYPE_NSS] = "nss",
    [TOKEN_TYPE_OPENCRYPTOKI] = "opencryptoki", [TOKEN_TYPE_GENERIC] = "generic"};
#define N_TYPES (sizeof TYPES / sizeof *TYPES)

/* The two tokens have the same settings. */
#define TOKEN_ROWS(name, member) \
    {"tokens." name ".module", PATH, AT(member.module), 0, 0, 0, true, "PKCS#11 module"}, \
    {"tokens." name ".label", TEXT, AT(member.label), 0, 0, 0, true, "token label"}, \
    {"tokens." name ".uri", TOKEN_URI, AT(member.uri), 0, 0, 0, false, "or: PKCS#11 URI (RFC 7512) that fits exactly one token of the module"}, \
    {"tokens." name ".pin_file", PATH, AT(member.pin_file), 0, 0, 0, true, "file with the user PIN (0600)"}, \
    {"tokens." name ".pin_credential", FILE_NAME, AT(member.pin_credential), 0, 0, 0, false, "or: name of the PIN in $CREDENTIALS_DIRECTORY"}, \
    {"tokens." name ".type", WORD, AT(member.type), 0, 0, 0, false, "auto, softhsm, tpm2, nss, opencryptoki or generic"}, \
    {"tokens." name ".softhsm_conf", PATH, AT(member.softhsm_conf), 0, 0, 0, false, "SoftHSM: its configuration file"}, \
    {"tokens." name ".initialise", TEXT, AT(member.initialise), 0, 0, 0, false, "text for C_Initialize, which NSS wants"}, \
    {"tokens." name ".sync", PATH, AT(member.sync), 0, 0, 0, false, "directory to sync after a key was made"}

/* Every setting: its path in the file, its kind, where it goes, bounds, whether it must be there, and what it is for. */
static const struct row {
    const char *path;
    enum kind kind;
    size_t at, size;
    uint64_t min, max, dflt;
    bool required;
    const char *help;
} SCHEMA[] = {
    {"instance", ORIGIN, AT(instance), 0, 0, 0, true, "name of the instance, e.g. kms.example.com"},
    {"listen.ci", TEXT, AT(listen_ci), 0, 0, 0, true, "ADDRESS:PORT of the ci door"},
    {"listen.admin", TEXT, AT(listen_admin), 0, 0, 0, true, "ADDRESS:PORT of the administration door"},
    {"listen.health", TEXT, AT(listen_health), 0, 0, 0, false, "health door: unix:PATH (default unix:health.sock), 127.0.0.1:PORT, or off"},
    {"tls.certificate", PATH, AT(tls_certificate), 0, 0, 0, true, "server certificate (PEM)"},
    {"tls.key", PATH, AT(tls_key), 0, 0, 0, true, "its private key (PEM, 0600)"},
    {"tls.client_ca", PATHS, AT(client_ca), 0, 0, 0, true, "CA certificates that client certificates must chain to; the first is kmsd's own"},
    {"tokens.lock", PATH, AT(tokens_lock), 0, 0, 0, true, "lock file: token processes start one after another"},
    TOKEN_ROWS("keys", keys),
    {"tokens.keys.paths", KEYS_PATHS, 0, 0, 0, 0, 0, false, "directories and devices that a module other than SoftHSM reads and writes"},
    {"tokens.keys.lanes", NUMBER, AT(keys.lanes), 0, LANES_MAX, 0, false, "signing lanes; 0 = one per processor"},
    {"tokens.keys.session_copies", SWITCH, AT(keys.session_copies), 0, 0, 0, false, "on or off (default): P-256 keys made from now on may be copied into a lane's session"},
    {"tokens.keys.sign_ahead", NUMBER, AT(keys.sign_ahead), 0, SIGN_AHEAD_MAX, SIGN_AHEAD_MAX, false, "SoftHSM: P-256 signatures that a lane begins while it has nothing to do; 0 = none"},
    TOKEN_ROWS("checkpoint", checkpoint),
    {"tokens.checkpoint.paths", CHECKPOINT_PATHS, 0, 0, 0, 0, 0, false, "directories and devices that a module other than SoftHSM reads and writes"},
    {"users.core", TEXT, AT(user_core), 0, 0, 0, false, "account of the core: owns log, snapshots and anchor (kmsd run as root)"},
    {"users.front", TEXT, AT(user_front), 0, 0, 0, false, "account of the doors: reads the TLS key"},
    {"users.token", TEXT, AT(user_token), 0, 0, 0, false, "account of the token lanes: owns tokens and PIN files"},
    {"users.reader", TEXT, AT(user_reader), 0, 0, 0, false, "account of the reader, of the core's group: reads the log, owns the index (users.core)"},
    {"audit.directory", PATH, AT(audit_dir), 0, 0, 0, true, "directory of the log"},
    {"anchor", PATH, AT(anchor), 0, 0, 0, false, "file that names the last record, best on another file system than the log (default anchor/anchor)"},
    {"audit.snapshots", PATH, AT(snapshots_dir), 0, 0, 0, false, "directory of the state snapshots (snapshots)"},
    {"audit.snapshot_records", NUMBER, AT(snapshot_records), 1000, 10000000, 65536, false, "records from one state snapshot to the next"},
    {"reader.index", PATH, AT(index), 0, 0, 0, false, "index of the log for searches, in a directory of its own (default index/state.db)"},
    {"limits.connections", NUMBER, AT(connections), 1, 65536, 1024, false, "connections a door holds"},
    {"limits.connections_per_peer", NUMBER, AT(connections_per_peer), 1, 65536, 256, false, "connections a door holds for one address"},
    {"limits.request_seconds", NUMBER, AT(request_seconds), 1, 300, 15, false, "time for a whole request to arrive"},
    {"limits.body_bytes", NUMBER, AT(body_bytes), 1024, 1048576, 1048576, false, "largest body at the ci door; one sign request has 64 KiB at most, a batch 1 MiB"},
    {"log.format", LOG_FORMAT, AT(log_format), 0, 0, 0, false, "how messages look: logfmt or json"},
    {"log.level", LOG_LEVEL, AT(log_level), 0, 0, 0, false, "least urgent message that is written: info, warning or error"},
    {"sandbox", SANDBOX, AT(sandbox), 0, 0, 0, false, "auto (what the kernel gives), required (refuse to run with less) or off"},
};
#define ANCHOR_DEFAULT "anchor/anchor"
#define INDEX_DEFAULT "index/state.db"
#define N_ROWS (sizeof SCHEMA / sizeof *SCHEMA)

/* Exactly one of each pair; the first is required where the second is missing. */
static const char *const EITHER[][2] = {
    {"tokens.keys.label", "tokens.keys.uri"},
    {"tokens.keys.pin_file", "tokens.keys.pin_credential"},
    {"tokens.checkpoint.label", "tokens.checkpoint.uri"},
    {"tokens.checkpoint.pin_file", "tokens.checkpoint.pin_credential"},
};

struct reading {
    const struct yaml_doc *doc;
    struct settings *out;
    bool seen[N_ROWS];
    bool version;
};

static int take_path(const struct reading *r, const struct yaml_node *n, char *to, size_t size, struct err *e)
{
    if (!n->text[0] || path_join(to, size, r->out->dir, n->text))
        return yaml_err(r->doc, n, e, "the path is empty or too long");
    return 0;
}

/* A list of 1 to max files or directories; *n is set last. */
static int take_paths(const struct reading *r, const struct yaml_node *n, char (*to)[PATH_MAX], unsigned max, unsigned *count, struct err *e)
{
    if (n->kind != YAML_SEQUENCE || !n->n || n->n > max)
        return yaml_err(r->doc, n, e, "must be a list of 1 to %u files", max);
    for (size_t i = 0; i < n->n; i++) {
        if (n->value[i]->kind != YAML_SCALAR)
            return yaml_err(r->doc, n->value[i], e, "must be a file name");
        if (take_path(r, n->value[i], to[i], PATH_MAX, e))
            return -1;
    }
    *count = (unsigned)n->n;
    return 0;
}

struct choice {
    const char *word;
    unsigned value;
};
static const struct choice SANDBOX_WORDS[] = {{"auto", SETTINGS_SANDBOX_AUTO}, {"required", SETTINGS_SANDBOX_REQUIRED}, {"off", SETTINGS_SANDBOX_OFF}, {0}};
static const struct choice FORMAT_WORDS[] = {{"logfmt", LOG_FORMAT_LOGFMT}, {"json", LOG_FORMAT_JSON}, {0}};
static const struct choice LEVEL_WORDS[] = {{"info", LOG_LEVEL_INFO}, {"warning", LOG_LEVEL_WARNING}, {"error", LOG_LEVEL_ERROR}, {0}};
static const struct choice SWITCH_WORDS[] = {{"on", SETTINGS_ON}, {"off", SETTINGS_OFF}, {0}};

/* The kinds that are one of some words, and which enumeration's number is stored. */
static const struct {
    const struct choice *words;
    const char *names;
} CHOICES[] = {
    [SANDBOX] = {SANDBOX_WORDS, "auto, required or off"},
    [LOG_FORMAT] = {FORMAT_WORDS, "logfmt or json"},
    [LOG_LEVEL] = {LEVEL_WORDS, "info, warning or error"},
    [SWITCH] = {SWITCH_WORDS, "on or off"},
};
_Static_assert(sizeof(enum settings_sandbox) == sizeof(unsigned) && sizeof(enum log_format) == sizeof(unsigned) && sizeof(enum log_level) == sizeof(unsigned) &&
                   sizeof(enum settings_switch) == sizeof(unsigned), "choices are stored as unsigned");

static int take_choice(const struct reading *r, enum kind kind, const struct yaml_node *n, char *to, struct err *e)
{
    const struct choice *c = CHOICES[kind].words;

    while (c->word && strcmp(c->word, n->text))
        c++;
    if (!c->word)
        return yaml_err(r->doc, n, e, "must be %s", CHOICES[kind].names);
    memcpy(to, &c->value, sizeof c->value);
    return 0;
}

static int take_text(const struct reading *r, const struct row *row, const struct yaml_node *n, char *to, struct err *e)
{
    static const char origin[] = "abcdefghijklmnopqrstuvwxyz0123456789.-";

    if (!n->text[0] || strlen(n->text) >= row->size)
        return yaml_err(r->doc, n, e, "must be a text of 1 to %zu bytes", row->size - 1);
    if (row->kind == ORIGIN && n->text[strspn(n->text, origin)])
        return yaml_err(r->doc, n, e, "may have a-z 0-9 . and - only");
    memcpy(to, n->text, strlen(n->text) + 1);
    return 0;
}

static int take_word(const struct reading *r, const struct row *row, const struct yaml_node *n, char *to, struct err *e)
{
    for (uint64_t k = 0; k < N_TYPES; k++)
        if (!strcmp(TYPES[k], n->text)) {
            memcpy(to, &k, sizeof k);
            return 0;
        }
    return yaml_err(r->doc, n, e, "must be %s", row->help);
}

/* A plain name within its directory, whatever that is. */
static int check_file_name(const struct reading *r, const struct yaml_node *n, struct err *e)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";

    return n->text[0] == '.' || n->text[strspn(n->text, allowed)] ? yaml_err(r->doc, n, e, "may have letters, digits, . _ and - only, and no . first") : 0;
}

/* What can be told without a PKCS#11 library: the rest is the token process's to judge, which gets the place. No PIN stands in the settings. */
static int check_uri(const struct reading *r, const struct row *row, const struct yaml_node *n, struct err *e)
{
    char *at = (char *)r->out + row->at - offsetof(struct token_settings, uri) + offsetof(struct token_settings, uri_at);
    struct err place = {0};
    char *colon;

    if (strncmp(n->text, "pkcs11:", 7))
        return yaml_err(r->doc, n, e, "must begin with pkcs11:");
    if (strstr(n->text, "pin-value") || strstr(n->text, "pin-source"))
        return yaml_err(r->doc, n, e, "must not hold a PIN or its place; use pin_file or pin_credential");
    yaml_err(r->doc, n, &place, ".");
    colon = strrchr(place.detail, ':');
    if (!colon || (size_t)(colon - place.detail) >= SETTINGS_TEXT)
        return 0;
    *colon = '\0';
    memcpy(at, place.detail, (size_t)(colon - place.detail) + 1);
    return 0;
}

static int take(const struct reading *r, const struct row *row, const struct yaml_node *n, struct err *e)
{
    char *to = (char *)r->out + row->at;
    uint64_t number;

    if (row->kind == PATHS)
        return take_paths(r, n, r->out->client_ca, SETTINGS_CA_MAX, &r->out->n_client_ca, e);
    if (row->kind == KEYS_PATHS || row->kind == CHECKPOINT_PATHS) {
        struct token_settings *t = row->kind == KEYS_PATHS ? &r->out->keys : &r->out->checkpoint;

        return take_paths(r, n, t->paths, SETTINGS_TOKEN_PATHS_MAX, &t->n_paths, e);
    }
    if (n->kind != YAML_SCALAR)
        return yaml_err(r->doc, n, e, "must be a single value: %s", row->help);
    if (row->kind == PATH)
        return take_path(r, n, to, row->size, e);
    if (row->kind == WORD)
        return take_word(r, row, n, to, e);
    if ((row->kind == FILE_NAME && check_file_name(r, n, e)) || (row->kind == TOKEN_URI && check_uri(r, row, n, e)))
        return -1;
    if (row->kind >= SANDBOX)
        return take_choice(r, row->kind, n, to, e);
    if (row->kind != NUMBER)
        return take_text(r, row, n, to, e);
    if (num_parse_u64(n->text, strlen(n->text), row->min, row->max, &number))
        return yaml_err(r->doc, n, e, "must be a number from %llu to %llu", (unsigned long long)row->min, (unsigned long long)row->max);
    memcpy(to, &number, sizeof number);
    return 0;
}

/* The other one of the pair that this setting belongs to, where the file has it. */
static const char *other_seen(const struct reading *r, const char *path)
{
    for (size_t n = 0; n < sizeof EITHER / sizeof *EITHER; n++)
        for (size_t side = 0; side < 2; side++)
            for (size_t row = 0; !strcmp(EITHER[n][side], path) && row < N_ROWS; row++)
                if (r->seen[row] && !strcmp(SCHEMA[row].path, EITHER[n][!side]))
                    return EITHER[n][!side];
    return NULL;
}

static int walk(struct reading *r, const struct yaml_node *map, const char *prefix, struct err *e);

static int entry(struct reading *r, const struct yaml_node *key, const struct yaml_node *value, const char *prefix, struct err *e)
{
    BUF_AUTO path = BUF_INIT(512);
    const char *other;
    bool inner = false;

    buf_printf(&path, "%s%s%s", prefix, *prefix ? "." : "", key->text);
    if (!strcmp(buf_str(&path), "version")) {
        r->version = true;
        return value->kind == YAML_SCALAR && !strcmp(value->text, "1") ? 0 : yaml_err(r->doc, value, e, "version must be 1");
    }
    /* A key with a dot would spell a nested setting a second way. */
    for (size_t n = 0; n < N_ROWS && !strchr(key->text, '.'); n++) {
        if (!strcmp(SCHEMA[n].path, buf_str(&path))) {
            if ((other = other_seen(r, SCHEMA[n].path)))
                return yaml_err(r->doc, key, e, "%s and %s exclude each other", other, SCHEMA[n].path);
            r->seen[n] = true;
            return take(r, &SCHEMA[n], value, e) ? err_context(e, "%s", SCHEMA[n].path) : 0;
        }
        inner |= !strncmp(SCHEMA[n].path, buf_str(&path), path.len) && SCHEMA[n].path[path.len] == '.';
    }
    if (inner && value->kind == YAML_MAPPING)
        return walk(r, value, buf_str(&path), e);
    return yaml_err(r->doc, key, e, inner ? "%s must be a mapping" : "there is no setting %s", buf_str(&path));
}

static int walk(struct reading *r, const struct yaml_node *map, const char *prefix, struct err *e)
{
    if (map->kind != YAML_MAPPING)
        return yaml_err(r->doc, map, e, "the settings must be a mapping");
    for (size_t n = 0; n < map->n; n++)
        if (entry(r, map->key[n], map->value[n], prefix, e))
            return -1;
    return 0;
}

static int finish(const struct reading *r, struct err *e)
{
    if (!r->version)
        return err_set(e, ERR_BAD_REQUEST, "%s: version is missing; write `version: 1`", r->out->file);
    for (size_t n = 0; n < N_ROWS; n++)
        if (SCHEMA[n].required && !r->seen[n] && !other_seen(r, SCHEMA[n].path))
            return err_set(e, ERR_BAD_REQUEST, "%s: %s is missing (%s)", r->out->file, SCHEMA[n].path, SCHEMA[n].help);
    if (!r->out->anchor[0] && path_join(r->out->anchor, sizeof r->out->anchor, r->out->dir, ANCHOR_DEFAULT))
        return err_set(e, ERR_BAD_REQUEST, "%s: the path of the anchor is too long", r->out->file);
    if (!r->out->index[0] && path_join(r->out->index, sizeof r->out->index, r->out->dir, INDEX_DEFAULT))
        return err_set(e, ERR_BAD_REQUEST, "%s: the path of the index is too long", r->out->file);
    return 0;
}

/* Absolute name of the file and of its directory. */
static int locate(const char *file, struct settings *out, struct err *e)
{
    char *slash;

    if (!realpath(file, out->file))
        return err_set(e, ERR_NOT_FOUND, "%s cannot be read: does it exist?", file);
    memcpy(out->dir, out->file, sizeof out->dir);
    slash = strrchr(out->dir, '/');
    slash[slash == out->dir] = '\0';
    return 0;
}

int settings_load(const char *file, struct settings *out, struct err *e)
{
    BUF_AUTO text = BUF_INIT(YAML_MAX);
    struct reading r = {.out = out};

    memset(out, 0, sizeof *out);
    out->log_level = LOG_LEVEL_INFO;
    for (size_t n = 0; n < N_ROWS; n++)
        if (SCHEMA[n].kind == NUMBER)
            memcpy((char *)out + SCHEMA[n].at, &SCHEMA[n].dflt, sizeof(uint64_t));
    if (locate(file, out, e) || file_read(out->file, &text, e))
        return -1;
    YAML_AUTO *doc = yaml_parse(file, buf_span(&text), ERR_BAD_REQUEST, e);
    if (!doc)
        return -1;
    r.doc = doc;
    if (path_join(out->snapshots_dir, sizeof out->snapshots_dir, out->dir, "snapshots"))
        return err_set(e, ERR_BAD_REQUEST, "the path %s is too long", out->dir);
    return walk(&r, yaml_root(doc), "", e) || finish(&r, e) ? -1 : 0;
}

void settings_each(void (*each)(void *ctx, const struct settings_fact *fact), void *ctx)
{
    static const char *const values[] = {
        [TEXT] = "text", [PATH] = "path", [NUMBER] = "number", [PATHS] = "list of paths", [ORIGIN] = "text of a-z 0-9 . and -", [WORD] = "word",
        [FILE_NAME] = "name", [TOKEN_URI] = "URI", [KEYS_PATHS] = "list of paths", [CHECKPOINT_PATHS] = "list of paths", [SANDBOX] = "word", [LOG_FORMAT] = "word", [LOG_LEVEL] = "word",
        [SWITCH] = "on or off"};

    for (const struct row *row = SCHEMA; row < SCHEMA + N_ROWS; row++) {
        BUF_AUTO text = BUF_INIT(256);
        struct settings_fact fact = {.path = row->path, .help = row->help, .required = row->required, .has_default = row->kind == NUMBER,
                                     .dflt = row->dflt};

        buf_puts(&text, values[row->kind]);
        if (row->kind == NUMBER)
            buf_printf(&text, ", %llu to %llu", (unsigned long long)row->min, (unsigned long long)row->max);
        fact.values = buf_str(&text);
        for (size_t n = 0; n < sizeof EITHER / sizeof *EITHER; n++)
            if (!strcmp(EITHER[n][0], row->path))
                fact.unless = EITHER[n][1];
        each(ctx, &fact);
    }
}

const char *settings_token_name(const struct token_settings *t)
{
    return *t->label ? t->label : t->uri;
}

const char *settings_pin_place(const struct token_settings *t)
{
    return *t->pin_file ? t->pin_file : t->pin_credential;
}

unsigned settings_lanes(const struct settings *s)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    if (s->keys.lanes)
        return (unsigned)s->keys.lanes;
    return cores < 1 ? 1 : cores > LANES_MAX ? LANES_MAX : (unsigned)cores;
}

int settings_latch(const struct settings *s, char *out, size_t size)
{
    char dir[PATH_MAX];
    char *slash;

    memcpy(dir, s->tokens_lock, sizeof dir);
    slash = strrchr(dir, '/');
    slash[slash == dir] = '\0';
    return path_join(out, size, dir, "sealed");
}

int settings_write(const char *file, const char *instance, const char *listen_ci, const char *listen_admin, const char *module, struct err *e)
{
    BUF_AUTO b = BUF_INIT(16384);

    buf_printf(&b, "# Settings of this kmsd instance; `kmsd check` says what is wrong with them.\nversion: 1\ninstance: %s\n", instance);
    buf_printf(&b, "listen:\n  ci: '%s'\n  admin: '%s'\n", listen_ci, listen_admin);
    buf_puts(&b, "tls:\n  certificate: tls/server.pem\n  key: tls/server.key\n  client_ca: [tls/ca.pem]\ntokens:\n  lock: tokens/lock\n");
    for (unsigned n = 0; n < 2; n++) {
        const char *t = n ? "checkpoint" : "keys";

        buf_printf(&b, "  %s:\n    module: '%s'\n    label: kmsd-%s\n    pin_file: pin-%s\n    softhsm_conf: tokens/%s/softhsm2.conf\n    sync: tokens/%s/store\n", t,
                   module, t, t, t, t);
    }
    buf_puts(&b, "audit:\n  directory: audit\n# Best on another file system than the log: who puts an old log back should not put this back with it.\nanchor: " ANCHOR_DEFAULT "\n");
    return buf_ok(&b) ? err_set(e, ERR_BAD_REQUEST, "the settings are too long") : file_write_atomic(file, b.data, b.len, 0640, e);
}
