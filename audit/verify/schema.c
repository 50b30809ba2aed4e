/* The verifier's own table of events and members of format version 1 (docs/log-format.md). */
#include "audit/verify/schema.h"

#include <string.h>

#include "audit/verify/schema_types.h"

static const char *const EVENT_NAME[] = {
#define X(code, name) [EVENT_##code] = name,
    EVENTS(X)
#undef X
};
static const char *const OUTCOME_NAME[] = {"ok", "denied", "error", "intent"};

const char *event_name(enum event ev)
{
    return EVENT_NAME[ev];
}

static const char *const KINDS[] = {"ci", "service", "human", "system", "unknown", NULL};
static const char *const METHODS[] = {"mtls", "internal", NULL};
static const char *const IDENTITY_KINDS[] = {"ci", "service", "human", NULL};
static const char *const MODES[] = {"dev", "production", NULL};
static const char *const ENVIRONMENTS[] = {"development", "production", NULL};
static const char *const PURPOSES[] = {"release", NULL};
static const char *const KEY_STATES[] = {"active", "suspended", "retired", "destroying", "destroyed", NULL};
static const char *const SCHEMES[] = {"statement", "digest", "digest-pkcs1", NULL};
static const char *const SHA_256[] = {"sha256", NULL};
static const char *const SHA_384[] = {"sha384", NULL};
static const char *const PROBES[] = {"ok", NULL};
static const char *const CERTIFICATE[] = {"certificate", NULL};
static const char *const ANCHOR_STATES[] = {"sound", "missing", "unusable", "ahead", "replaced", "foreign", NULL};
static const char *const SAN_KINDS[] = {"spiffe", "dns", NULL};

static const struct field ACTOR[] = {
    {.name = "cred", .type = TYPE_HASH_OR_EMPTY}, {.name = "kind", .type = TYPE_WORD, .words = KINDS},
    {.name = "method", .type = TYPE_WORD, .words = METHODS}, {.name = "name", .type = TYPE_TEXT}, {0}};
static const struct field KEY[] = {{.name = "name", .type = TYPE_NAME}, {.name = "version", .type = TYPE_COUNT}, {0}};
static const struct field KEY_REFUSED[] = {{.name = "name", .type = TYPE_TEXT}, {.name = "version", .type = TYPE_COUNT, .optional = true}, {0}};
static const struct field ARTIFACT[] = {
    {.name = "app", .type = TYPE_NAME}, {.name = "channel", .type = TYPE_NAME}, {.name = "version", .type = TYPE_NAME}, {0}};
static const struct field DIGEST[] = {{.name = "alg", .type = TYPE_WORD, .words = SHA_256}, {.name = "hex", .type = TYPE_HASH}, {0}};
static const struct field DIGEST_384[] = {{.name = "alg", .type = TYPE_WORD, .words = SHA_384}, {.name = "hex", .type = TYPE_HASH_384}, {0}};
static const struct field ARTIFACT_REFUSED[] = {
    {.name = "app", .type = TYPE_TEXT}, {.name = "channel", .type = TYPE_TEXT}, {.name = "version", .type = TYPE_TEXT}, {0}};
static const struct field DIGEST_REFUSED[] = {{.name = "alg", .type = TYPE_TEXT}, {.name = "hex", .type = TYPE_TEXT}, {0}};
static const struct field REQUEST[] = {
    {.name = "blob", .type = TYPE_HASH, .optional = true}, {.name = "body_b64", .type = TYPE_BASE64, .optional = true},
    {.name = "body_sha256", .type = TYPE_HASH}, {.name = "method", .type = TYPE_NAME}, {.name = "nonce", .type = TYPE_ID},
    {.name = "path", .type = TYPE_NAME}, {.name = "sshsig_b64", .type = TYPE_BASE64}, {0}};
static const struct field CRED_CERTIFICATE[] = {
    {.name = "cert_sha256", .type = TYPE_HASH}, {.name = "issued", .type = TYPE_BOOL}, {.name = "kind", .type = TYPE_WORD, .words = CERTIFICATE},
    {.name = "not_after", .type = TYPE_TIME}, {.name = "spki_sha256", .type = TYPE_HASH}, {0}};
static const struct field CRED_SAN[] = {
    {.name = "ca_spki_b64", .type = TYPE_BASE64}, {.name = "ca_spki_sha256", .type = TYPE_HASH},
    {.name = "kind", .type = TYPE_WORD, .words = SAN_KINDS}, {.name = "value", .type = TYPE_NAME}, {0}};
static const struct field CREDENTIAL[] = {{.type = TYPE_OBJECT, .sub = CRED_CERTIFICATE, .alternative = CRED_SAN}};
static const struct field SSH_KEY[] = {{.type = TYPE_NAME}};
static const struct field IDENTITY[] = {
    {.name = "credentials", .type = TYPE_ARRAY, .sub = CREDENTIAL}, {.name = "kind", .type = TYPE_WORD, .words = IDENTITY_KINDS},
    {.name = "name", .type = TYPE_NAME}, {.name = "ssh", .type = TYPE_ARRAY, .sub = SSH_KEY}, {0}};
static const struct field IDENTITIES[] = {{.type = TYPE_OBJECT, .sub = IDENTITY}};
static const struct field NAMES[] = {{.type = TYPE_NAME}};
static const struct field TOKEN[] = {
    {.name = "firmware", .type = TYPE_TEXT}, {.name = "label", .type = TYPE_TEXT}, {.name = "manufacturer", .type = TYPE_TEXT},
    {.name = "model", .type = TYPE_TEXT}, {.name = "module", .type = TYPE_NAME}, {.name = "module_sha256", .type = TYPE_HASH},
    {.name = "serial", .type = TYPE_TEXT}, {0}};
#define SAID(attribute) {.name = (attribute), .type = TYPE_BOOL, .optional = true}
static const struct field BIRTH[] = {
    SAID("adds_digest_info"), {.name = "allowed_mechanisms", .type = TYPE_ARRAY, .sub = NAMES}, SAID("always_sensitive"), SAID("copyable"), SAID("decrypt"),
    SAID("derive"), SAID("extractable"), SAID("local"), {.name = "mechanism_generate", .type = TYPE_NAME}, SAID("modifiable"), SAID("never_extractable"),
    {.name = "not_enforced", .type = TYPE_ARRAY, .sub = NAMES}, SAID("private"), {.name = "probe", .type = TYPE_WORD, .words = PROBES}, SAID("sensitive"),
    SAID("sign"), SAID("sign_recover"), {.name = "token", .type = TYPE_OBJECT, .sub = TOKEN}, SAID("unwrap"), {0}};
static const struct field TOKEN_KEY[] = {
    {.name = "birth", .type = TYPE_OBJECT, .sub = BIRTH}, {.name = "key_id", .type = TYPE_ID}, {.name = "spki_b64", .type = TYPE_BASE64}, {0}};
static const struct field CA_KEY[] = {
    {.name = "birth", .type = TYPE_OBJECT, .sub = BIRTH}, {.name = "cert_b64", .type = TYPE_BASE64}, {.name = "key_id", .type = TYPE_ID},
    {.name = "spki_b64", .type = TYPE_BASE64}, {0}};
static const struct field HEAD[] = {{.name = "hash", .type = TYPE_HASH}, {.name = "seq", .type = TYPE_COUNT}, {0}};
static const struct field SUMMARY_ITEM[] = {
    {.name = "count", .type = TYPE_COUNT}, {.name = "cred", .type = TYPE_TEXT}, {.name = "name", .type = TYPE_TEXT},
    {.name = "reason", .type = TYPE_TEXT}, {.name = "src", .type = TYPE_TEXT}, {0}};
static const struct field SUMMARY_ITEMS[] = {{.type = TYPE_OBJECT, .sub = SUMMARY_ITEM}};

/* The members of `detail`, by event. */
static const struct field D_NONE[] = {{0}};
static const struct field D_GENESIS[] = {
    {.name = "ca", .type = TYPE_OBJECT, .sub = CA_KEY}, {.name = "checkpoint", .type = TYPE_OBJECT, .sub = TOKEN_KEY}, 
    {.name = "format", .type = TYPE_COUNT}, {.name = "identities", .type = TYPE_ARRAY, .sub = IDENTITIES}, {.name = "instance", .type = TYPE_ID},
    {.name = "mode", .type = TYPE_WORD, .words = MODES}, {.name = "origin", .type = TYPE_NAME}, {0}};
static const struct field D_RECOVERED[] = {
    {.name = "bytes", .type = TYPE_COUNT}, {.name = "file", .type = TYPE_NAME}, {.name = "sha256", .type = TYPE_HASH}, {0}};
static const struct field D_SNAPSHOT[] = {
    {.name = "bytes", .type = TYPE_COUNT}, {.name = "file", .type = TYPE_NAME}, {.name = "seq", .type = TYPE_COUNT},
    {.name = "sha256", .type = TYPE_HASH}, {0}};
static const struct field D_START[] = {
    {.name = "boot_id", .type = TYPE_TEXT}, {.name = "module_sha256", .type = TYPE_HASH}, {.name = "programs", .type = TYPE_HASHES},
    {.name = "settings_sha256", .type = TYPE_HASH}, {.name = "version", .type = TYPE_NAME}, {0}};
static const struct field D_CHILD[] = {{.name = "index", .type = TYPE_COUNT}, {.name = "role", .type = TYPE_SCALAR}, {0}};
static const struct field ANCHOR[] = {
    {.name = "counter", .type = TYPE_COUNT}, {.name = "hash", .type = TYPE_HASH}, {.name = "seq", .type = TYPE_COUNT}, {0}};
static const struct field D_RESET[] = {
    {.name = "counter", .type = TYPE_COUNT}, {.name = "how", .type = TYPE_WORD, .words = ANCHOR_STATES},
    {.name = "old", .type = TYPE_OBJECT, .optional = true, .sub = ANCHOR}, {.name = "token", .type = TYPE_OBJECT, .optional = true, .sub = HEAD}, {0}};
static const struct field KEY_FINDING[] = {
    {.name = "key_id", .type = TYPE_ID}, {.name = "name", .type = TYPE_NAME}, {.name = "private", .type = TYPE_COUNT}, {.name = "public", .type = TYPE_COUNT},
    {.name = "version", .type = TYPE_COUNT}, {0}};
static const struct field KEY_FINDINGS[] = {{.type = TYPE_OBJECT, .sub = KEY_FINDING}};
static const struct field OBJECT_FINDING[] = {{.name = "class", .type = TYPE_NAME}, {.name = "id", .type = TYPE_TEXT}, {0}};
static const struct field OBJECT_FINDINGS[] = {{.type = TYPE_OBJECT, .sub = OBJECT_FINDING}};
static const struct field D_RECONCILE[] = {
    {.name = "duplicate", .type = TYPE_ARRAY, .sub = KEY_FINDINGS}, {.name = "foreign", .type = TYPE_ARRAY, .sub = OBJECT_FINDINGS},
    {.name = "missing", .type = TYPE_ARRAY, .sub = KEY_FINDINGS}, {.name = "others", .type = TYPE_COUNT},
    {.name = "quarantined", .type = TYPE_ARRAY, .sub = OBJECT_FINDINGS}, {0}};
static const struct field D_KEY_INTENT[] = {{.name = "algorithm", .type = TYPE_NAME}, {.name = "key_id", .type = TYPE_ID}, {0}};
static const struct field D_KEY[] = {
    {.name = "algorithm", .type = TYPE_NAME}, {.name = "birth", .type = TYPE_OBJECT, .sub = BIRTH}, {.name = "key_id", .type = TYPE_ID},
    {.name = "spki_b64", .type = TYPE_BASE64}, {0}};
static const struct field D_KEY_DUE[] = {{.name = "due", .type = TYPE_TIME}, {.name = "state", .type = TYPE_WORD, .words = KEY_STATES}, {0}};
static const struct field D_ERASE_INTENT[] = {{.name = "key_id", .type = TYPE_ID}, {0}};
static const struct field TOKEN_NAMES[] = {{.name = "label", .type = TYPE_TEXT}, {.name = "serial", .type = TYPE_TEXT}, {0}};
static const struct field D_ERASE[] = {
    {.name = "key_id", .type = TYPE_ID}, {.name = "left", .type = TYPE_COUNT}, {.name = "private", .type = TYPE_COUNT}, {.name = "public", .type = TYPE_COUNT},
    {.name = "token", .type = TYPE_OBJECT, .sub = TOKEN_NAMES}, {0}};
static const struct field D_KEY_STATE[] = {{.name = "state", .type = TYPE_WORD, .words = KEY_STATES}, {0}};
static const struct field D_SIGN[] = {
    {.name = "environment", .type = TYPE_WORD, .words = ENVIRONMENTS}, {.name = "issued", .type = TYPE_TIME},
    {.name = "log_head", .type = TYPE_OBJECT, .sub = HEAD}, {.name = "name", .type = TYPE_NAME},
    {.name = "size", .type = TYPE_COUNT, .optional = true}, {0}};
static const struct field D_SIGN_DIGEST[] = {{.name = "name", .type = TYPE_NAME}, {.name = "size", .type = TYPE_COUNT, .optional = true}, {0}};
static const struct field D_POLICY[] = {{.name = "sha256", .type = TYPE_HASH}, {0}};
static const struct field D_IDENTITY[] = {
    {.name = "certificate_b64", .type = TYPE_BASE64, .optional = true}, {.name = "identity", .type = TYPE_OBJECT, .sub = IDENTITY}, {0}};
static const struct field HASHES[] = {{.type = TYPE_HASH}};
static const struct field D_RENEW[] = {
    {.name = "certificate_b64", .type = TYPE_BASE64}, {.name = "credential", .type = TYPE_OBJECT, .sub = CRED_CERTIFICATE},
    {.name = "dropped", .type = TYPE_ARRAY, .sub = HASHES}, {.name = "name", .type = TYPE_NAME}, {0}};
static const struct field D_CA[] = {{.name = "ca", .type = TYPE_OBJECT, .sub = CA_KEY}, {0}};
static const struct field D_SERVER[] = {{.name = "certificate_b64", .type = TYPE_BASE64}, {0}};
static const struct field D_RECOVER[] = {
    {.name = "certificate_b64", .type = TYPE_BASE64}, {.name = "identity", .type = TYPE_OBJECT, .sub = IDENTITY},
    {.name = "policy_sha256", .type = TYPE_HASH, .optional = true}, {0}};
static const struct field D_NAME[] = {{.name = "name", .type = TYPE_NAME}, {0}};
static const struct field D_TIME_STEP[] = {
    {.name = "from", .type = TYPE_TIME}, {.name = "seconds", .type = TYPE_INTEGER}, {.name = "to", .type = TYPE_TIME}, {0}};
static const struct field D_TIME_CONFIRM[] = {{.name = "seq", .type = TYPE_COUNT}, {0}};
static const struct field D_SUMMARY[] = {{.name = "items", .type = TYPE_ARRAY, .sub = SUMMARY_ITEMS}, {.name = "others", .type = TYPE_COUNT}, {0}};

/* Members of the record itself, beside `event` and `outcome`, which choose the row; in the order of their names, as they stand in a line. */
enum {
    M_ACTOR, M_ARTIFACT, M_BODY, M_BOOT, M_DIGEST, M_IDEM, M_INTENT, M_KEY, M_POLICY, M_PREV, M_PURPOSE, M_REASON, M_REQ, M_REQUEST, M_RULE, M_SCHEME,
    M_SEQ, M_SIGNATURE, M_SOURCE, M_SRC, M_TIME, M_V, M_COUNT
};
static const struct field MEMBERS[] = {
    [M_ACTOR] = {.name = "actor", .type = TYPE_OBJECT, .sub = ACTOR},
    [M_ARTIFACT] = {.name = "artifact", .type = TYPE_OBJECT, .sub = ARTIFACT},
    [M_BODY] = {.name = "body_sha256", .type = TYPE_HASH},
    [M_BOOT] = {.name = "boot", .type = TYPE_ID},
    [M_DIGEST] = {.name = "digest", .type = TYPE_OBJECT, .sub = DIGEST, .alternative = DIGEST_384},
    [M_IDEM] = {.name = "idem", .type = TYPE_NAME},
    [M_INTENT] = {.name = "intent_seq", .type = TYPE_COUNT},
    [M_KEY] = {.name = "key", .type = TYPE_OBJECT, .sub = KEY},
    [M_POLICY] = {.name = "policy", .type = TYPE_HASH},
    [M_PREV] = {.name = "prev", .type = TYPE_HASH},
    [M_PURPOSE] = {.name = "purpose", .type = TYPE_WORD, .words = PURPOSES},
    [M_REASON] = {.name = "reason", .type = TYPE_TEXT},
    [M_REQ] = {.name = "req", .type = TYPE_TEXT},
    [M_REQUEST] = {.name = "request", .type = TYPE_OBJECT, .sub = REQUEST},
    [M_RULE] = {.name = "rule", .type = TYPE_NAME},
    [M_SCHEME] = {.name = "scheme", .type = TYPE_WORD, .words = SCHEMES},
    [M_SEQ] = {.name = "seq", .type = TYPE_COUNT},
    [M_SIGNATURE] = {.name = "signature", .type = TYPE_BASE64},
    [M_SOURCE] = {.name = "source_claimed", .type = TYPE_TEXT},
    [M_SRC] = {.name = "src", .type = TYPE_TEXT},
    [M_TIME] = {.name = "time", .type = TYPE_TIME},
    [M_V] = {.name = "v", .type = TYPE_COUNT},
};
/* As M_KEY, M_ARTIFACT, M_DIGEST in a refusal: what a caller sent, not what is. */
static const struct field REFUSED_KEY = {.name = "key", .type = TYPE_OBJECT, .sub = KEY_REFUSED};
static const struct field REFUSED_ARTIFACT = {.name = "artifact", .type = TYPE_OBJECT, .sub = ARTIFACT_REFUSED};
static const struct field REFUSED_DIGEST = {.name = "digest", .type = TYPE_OBJECT, .sub = DIGEST_REFUSED};

#define B(m) (1u << (m))
#define COMMON (B(M_V) | B(M_SEQ) | B(M_PREV) | B(M_TIME) | B(M_BOOT) | B(M_ACTOR) | B(M_REQ))
#define DECIDED (B(M_SRC) | B(M_RULE) | B(M_POLICY) | B(M_BODY))
#define PERSON (DECIDED | B(M_REQUEST))
#define RELEASE (DECIDED | B(M_KEY) | B(M_ARTIFACT) | B(M_DIGEST) | B(M_SIGNATURE) | B(M_SCHEME))
#define REFUSAL_MAY (B(M_SRC) | B(M_RULE) | B(M_POLICY) | B(M_KEY) | B(M_ARTIFACT) | B(M_DIGEST))
#define REFUSED(ev) {ev, OUTCOME_DENIED, B(M_REASON), REFUSAL_MAY, D_NONE, true}, {ev, OUTCOME_ERROR, B(M_REASON), REFUSAL_MAY, D_NONE, true}

/* A reason that a person left empty is no member. */
static const struct row {
    enum event event;
    enum outcome outcome;
    unsigned must, may;      /* besides COMMON */
    const struct field *detail;
    bool refusal;
} ROWS[] = {
    {EVENT_LOG_GENESIS, OUTCOME_OK, B(M_POLICY), 0, D_GENESIS, false},
    {EVENT_LOG_RECOVERED, OUTCOME_OK, 0, 0, D_RECOVERED, false},
    {EVENT_LOG_SNAPSHOT, OUTCOME_OK, 0, 0, D_SNAPSHOT, false},
    {EVENT_DAEMON_START, OUTCOME_OK, 0, 0, D_START, false},
    {EVENT_DAEMON_STOP, OUTCOME_OK, 0, B(M_REASON), D_NONE, false},
    {EVENT_DAEMON_CHILD, OUTCOME_ERROR, B(M_REASON), 0, D_CHILD, false},
    {EVENT_ANCHOR_RESET, OUTCOME_OK, B(M_REASON), 0, D_RESET, false},
    {EVENT_CA_RENEW, OUTCOME_OK, 0, 0, D_CA, false},
    {EVENT_SERVER_RENEW, OUTCOME_OK, 0, 0, D_SERVER, false},
    {EVENT_ADMIN_RECOVER, OUTCOME_OK, B(M_REASON), 0, D_RECOVER, false},
    {EVENT_TOKEN_RECONCILE, OUTCOME_OK, 0, 0, D_RECONCILE, false},
    {EVENT_TOKEN_RECONCILE, OUTCOME_ERROR, 0, 0, D_RECONCILE, false},
    {EVENT_KEY_CREATE, OUTCOME_INTENT, B(M_KEY) | B(M_SCHEME) | B(M_PURPOSE) | PERSON, B(M_IDEM), D_KEY_INTENT, false},
    {EVENT_KEY_CREATE, OUTCOME_OK, B(M_KEY) | B(M_SCHEME) | B(M_PURPOSE) | B(M_INTENT) | DECIDED, B(M_IDEM), D_KEY, false},
    {EVENT_KEY_CREATE, OUTCOME_ERROR, B(M_KEY) | B(M_INTENT) | B(M_REASON), 0, D_NONE, false},
    {EVENT_KEY_SUSPEND, OUTCOME_OK, PERSON | B(M_KEY) | B(M_REASON), B(M_IDEM), D_KEY_STATE, false},
    {EVENT_KEY_RESUME, OUTCOME_OK, PERSON | B(M_KEY) | B(M_REASON), B(M_IDEM), D_KEY_STATE, false},
    {EVENT_KEY_RETIRE, OUTCOME_OK, PERSON | B(M_KEY) | B(M_REASON), B(M_IDEM), D_KEY_STATE, false},
    {EVENT_KEY_COMPROMISE, OUTCOME_OK, PERSON | B(M_KEY) | B(M_REASON), B(M_IDEM), D_KEY_STATE, false},
    {EVENT_KEY_DESTROY, OUTCOME_OK, PERSON | B(M_KEY) | B(M_REASON), B(M_IDEM), D_KEY_DUE, false},
    {EVENT_KEY_RESTORE, OUTCOME_OK, PERSON | B(M_KEY) | B(M_REASON), B(M_IDEM), D_KEY_STATE, false},
    {EVENT_KEY_ERASE, OUTCOME_INTENT, B(M_KEY), 0, D_ERASE_INTENT, false},
    {EVENT_KEY_ERASE, OUTCOME_OK, B(M_KEY) | B(M_INTENT), 0, D_ERASE, false},
    {EVENT_KEY_ERASE, OUTCOME_ERROR, B(M_KEY) | B(M_INTENT) | B(M_REASON), 0, D_NONE, false},
    {EVENT_SIGN_RELEASE, OUTCOME_OK, RELEASE, B(M_IDEM) | B(M_SOURCE), D_SIGN, false},
    {EVENT_SIGN_DIGEST, OUTCOME_OK, RELEASE, B(M_IDEM) | B(M_SOURCE), D_SIGN_DIGEST, false},
    {EVENT_POLICY_APPLY, OUTCOME_OK, PERSON, B(M_IDEM), D_POLICY, false},
    {EVENT_IDENTITY_CREATE, OUTCOME_OK, PERSON, B(M_IDEM), D_IDENTITY, false},
    {EVENT_IDENTITY_RENEW, OUTCOME_OK, DECIDED, B(M_IDEM) | B(M_REQUEST), D_RENEW, false},
    {EVENT_IDENTITY_DISABLE, OUTCOME_OK, PERSON, B(M_IDEM) | B(M_REASON), D_NAME, false},
    {EVENT_IDENTITY_ENABLE, OUTCOME_OK, PERSON, B(M_IDEM) | B(M_REASON), D_NAME, false},
    {EVENT_RELEASE_WITHDRAW, OUTCOME_OK, PERSON | B(M_ARTIFACT), B(M_IDEM) | B(M_REASON), D_NONE, false},
    {EVENT_TIME_STEP, OUTCOME_OK, 0, 0, D_TIME_STEP, false},
    {EVENT_TIME_CONFIRM, OUTCOME_OK, PERSON, B(M_IDEM) | B(M_REASON), D_TIME_CONFIRM, false},
    {EVENT_REFUSAL_SUMMARY, OUTCOME_OK, 0, 0, D_SUMMARY, false},
    REFUSED(EVENT_KEY_CREATE), REFUSED(EVENT_SIGN_RELEASE), REFUSED(EVENT_POLICY_APPLY), REFUSED(EVENT_IDENTITY_CREATE),
    REFUSED(EVENT_IDENTITY_RENEW), REFUSED(EVENT_IDENTITY_DISABLE), REFUSED(EVENT_IDENTITY_ENABLE), REFUSED(EVENT_RELEASE_WITHDRAW), REFUSED(EVENT_TIME_CONFIRM),
    REFUSED(EVENT_KEY_SUSPEND), REFUSED(EVENT_KEY_RESUME), REFUSED(EVENT_KEY_RETIRE), REFUSED(EVENT_KEY_COMPROMISE),
    REFUSED(EVENT_KEY_DESTROY), REFUSED(EVENT_KEY_RESTORE),
    REFUSED(EVENT_NONCE_CREATE), REFUSED(EVENT_READ_API), REFUSED(EVENT_AUTH_REFUSED),
};

static int word_of(const json_t *record, const char *member, const char *const *words, size_t n, struct err *e)
{
    const char *text = json_string_value(json_object_get(record, member));

    for (size_t i = 0; text && i < n; i++)
        if (!strcmp(text, words[i]))
            return (int)i;
    return err_set(e, ERR_UNKNOWN_MEMBER, "%s %.40s is not one of format version 1", member, text ? text : "(none)");
}

/* The failed creation of a key has two rows: one ends an intent, the other is a refusal, which has none. */
static const struct row *row_of(enum event ev, enum outcome o, bool intent_seq)
{
    for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
        const struct row *r = &ROWS[i];

        if (r->event == ev && r->outcome == o && (ev != EVENT_KEY_CREATE || o != OUTCOME_ERROR || r->refusal != intent_seq))
            return r;
    }
    return NULL;
}

/* Looked for from `*next` on, around the table: members come in its order, as a rule. */
static const struct field *member_of(const struct row *row, const char *name, unsigned *next, unsigned *bit)
{
    for (unsigned n = 0; n < M_COUNT; n++) {
        unsigned m = (*next + n) % M_COUNT;

        if (strcmp(MEMBERS[m].name, name))
            continue;
        *bit = B(m);
        *next = m + 1;
        if (!row->refusal)
            return &MEMBERS[m];
        return m == M_KEY ? &REFUSED_KEY : m == M_ARTIFACT ? &REFUSED_ARTIFACT : m == M_DIGEST ? &REFUSED_DIGEST : &MEMBERS[m];
    }
    return NULL;
}

static int check_members(const json_t *record, const struct row *row, struct err *e)
{
    unsigned seen = 0, next = 0, bit = 0;

    for (void *at = json_object_iter((json_t *)(uintptr_t)record); at; at = json_object_iter_next((json_t *)(uintptr_t)record, at)) {
        const char *name = json_object_iter_key(at);
        const struct field *f;

        if (!strcmp(name, "event") || !strcmp(name, "outcome") || !strcmp(name, "detail"))
            continue;
        f = member_of(row, name, &next, &bit);
        if (!f || !(bit & (COMMON | row->must | row->may)))
            return err_set(e, ERR_UNKNOWN_MEMBER, "member %.40s is not one of %s %s", name, EVENT_NAME[row->event], OUTCOME_NAME[row->outcome]);
        if (field_check(f, json_object_iter_value(at), e))
            return -1;
        seen |= bit;
    }
    for (unsigned m = 0; m < M_COUNT; m++)
        if ((COMMON | row->must) & ~seen & B(m))
            return err_set(e, ERR_BAD_REQUEST, "member %s is missing", MEMBERS[m].name);
    return 0;
}

int schema_check(const json_t *record, enum event *ev, enum outcome *outcome, struct err *e)
{
    int event = word_of(record, "event", EVENT_NAME, EVENT_COUNT, e);
    int out = event < 0 ? -1 : word_of(record, "outcome", OUTCOME_NAME, OUTCOME_COUNT, e);
    const json_t *detail = json_object_get(record, "detail");
    const struct row *row;

    if (out < 0)
        return -1;
    if (json_integer_value(json_object_get(record, "v")) != 1)
        return err_set(e, ERR_UNKNOWN_MEMBER, "v is not 1, the only format version that this program knows");
    row = row_of((enum event)event, (enum outcome)out, json_object_get(record, "intent_seq") != NULL);
    if (!row)
        return err_set(e, ERR_UNKNOWN_MEMBER, "%s has no outcome %s", EVENT_NAME[event], OUTCOME_NAME[out]);
    if (check_members(record, row, e))
        return -1;
    if (!detail && row->detail != D_NONE)
        return err_set(e, ERR_BAD_REQUEST, "member detail is missing");
    if (detail && fields_check(row->detail, detail, e))
        return err_context(e, "detail");
    *ev = (enum event)event;
    *outcome = (enum outcome)out;
    return 0;
}
