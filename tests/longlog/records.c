/* Makes seeded sequences of records that fold. */
#include "tests/longlog/records.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/timefmt.h"

#define BOOT "0123456789abcdef0123456789abcdef"
#define LINES_MAX (256u << 20)

static const char *const POLICY[RECORDS_POLICIES] = {
    "version: 1\nroles:\n  all:\n    - name: all\n      allow: [policy.apply, identity.create]\ngrants:\n  - {role: all, to: [founders]}\n",
    "version: 1\nroles:\n  all:\n    - name: every\n      allow: [policy.apply, identity.create]\ngrants:\n  - {role: all, to: [founders]}\n"};

uint64_t records_random(struct records *g, uint64_t below)
{
    uint64_t z = (g->rng += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (z ^ (z >> 31)) % below;
}

static void hex(struct records *g, char *out, size_t digits)
{
    for (size_t n = 0; n < digits; n++)
        out[n] = "0123456789abcdef"[records_random(g, 16)];
    out[digits] = '\0';
}

static json_t *random_hex(struct records *g, size_t digits)
{
    char text[SHA256_HEX];

    hex(g, text, digits);
    return json_string(text);
}

static json_t *numbered(const char *prefix, unsigned n)
{
    return json_sprintf("%s%u", prefix, n);
}

/* Takes over the record. */
static void add(struct records *g, json_t *record)
{
    struct err e = {0};

    g->now += (int64_t)records_random(g, (uint64_t)g->pace) + 1;
    if (!record || record_seal(record, &g->chain, g->now, BOOT, &g->lines, &e)) {
        fprintf(stderr, "records: %s\n", e.detail);
        abort();
    }
    json_decref(record);
    g->n_records++;
}

static json_t *base(struct records *g, const char *event, const char *outcome, unsigned principal)
{
    char name[32], cred[SHA256_HEX], req[33];
    const struct actor actor = {name, "ci", cred, "mtls"};
    json_t *record;

    (void)snprintf(name, sizeof name, "ci-%u", principal);
    memset(cred, '0' + (char)(principal % 10), sizeof cred - 1);
    cred[sizeof cred - 1] = '\0';
    hex(g, req, 32);
    record = record_new(event, outcome, &actor, req);
    record_text(record, "src", "192.0.2.1");
    return record;
}

/* Mostly with an Idempotency-Key; now and then one that was used before, which stores nothing. */
static void decided(struct records *g, json_t *record)
{
    json_object_set_new(record, "body_sha256", random_hex(g, 64));
    record_text(record, "rule", "all");
    record_text(record, "policy", g->policy_sha256[0]);
    if (records_random(g, 4))
        json_object_set_new(record, "idem", records_random(g, 20) ? random_hex(g, 32) : json_string("again"));
}

static void person(struct records *g, json_t *record, const char *method, const char *path)
{
    decided(g, record);
    json_object_set_new(record, "request", json_pack("{s:s, s:s, s:o, s:s, s:s, s:o}", "body_b64", "e30=", "method", method, "nonce", random_hex(g, 32), "path",
                                                     path, "sshsig_b64", "U1NIU0lH", "body_sha256", random_hex(g, 64)));
}

static void sign(struct records *g)
{
    unsigned at = (unsigned)records_random(g, RECORDS_CHANNELS);
    struct records_channel *c = &g->channel[at];
    json_t *record = base(g, "sign.release", "ok", (unsigned)records_random(g, g->principals));
    char app[48], version[32], head[SHA256_HEX], signature[97];

    if (!c->version || c->withdrawn || c->names >= 3 || !records_random(g, 3))
        *c = (struct records_channel){.version = c->version + 1};
    (void)snprintf(app, sizeof app, "com.longlog%u.app%u", g->batch, at / 2);
    (void)snprintf(version, sizeof version, "1.%u.0", c->version);
    hex(g, head, 64);
    hex(g, signature, 96);
    decided(g, record);
    json_object_set_new(record, "key", record_key("release", 1));
    json_object_set_new(record, "artifact", record_artifact(app, at % 2 ? "beta" : "production", version));
    json_object_set_new(record, "digest", json_pack("{s:s, s:o}", "alg", "sha256", "hex", random_hex(g, 64)));
    record_text(record, "signature", signature);
    record_text(record, "scheme", "statement");
    json_object_set_new(record, "detail", json_pack("{s:s, s:s, s:o, s:o, s:i}", "environment", "development", "issued", "2026-01-01T00:00:00.000000Z", "log_head",
                                                    record_head(g->chain.next_seq - 1, head), "name", numbered("bundle", c->names++), "size", 1234));
    add(g, record);
}

static void withdraw(struct records *g)
{
    unsigned at = (unsigned)records_random(g, RECORDS_CHANNELS);
    struct records_channel *c = &g->channel[at];
    char app[48], version[32];
    json_t *record;

    if (!c->version)
        return;
    record = base(g, "release.withdraw", "ok", 0);
    (void)snprintf(app, sizeof app, "com.longlog%u.app%u", g->batch, at / 2);
    (void)snprintf(version, sizeof version, "1.%u.0", c->version);
    person(g, record, "POST", "/v1/releases/withdraw");
    json_object_set_new(record, "artifact", record_artifact(app, at % 2 ? "beta" : "production", version));
    record_text(record, "reason", "a \"bad\" build \xe2\x80\x94 again");
    add(g, record);
    c->withdrawn = true;
}

static json_t *credential(struct records *g, unsigned kind)
{
    if (!kind)
        return json_pack("{s:o, s:b, s:s, s:s, s:o}", "cert_sha256", random_hex(g, 64), "issued", (int)records_random(g, 2), "kind", "certificate", "not_after",
                         "2096-01-01T00:00:00.000000Z", "spki_sha256", random_hex(g, 64));
    return json_pack("{s:s, s:o, s:s, s:o}", "ca_spki_b64", "MFkwEwYHKoZIzj0CAQ==", "ca_spki_sha256", random_hex(g, 64), "kind", kind == 1 ? "spiffe" : "dns",
                     "value", numbered(kind == 1 ? "spiffe://longlog/" : "longlog", g->identities));
}

static json_t *identity(struct records *g)
{
    json_t *credentials = json_array(), *ssh = json_array();

    for (uint64_t n = records_random(g, 3); n; n--)
        json_array_append_new(ssh, json_sprintf("ssh-ed25519 AAAA%u", (unsigned)n));
    for (unsigned n = 0; n < 3; n++)
        if (!records_random(g, 2))
            json_array_append_new(credentials, credential(g, n));
    return json_pack("{s:o, s:s, s:o, s:o}", "credentials", credentials, "kind", "ci", "name", numbered("id-", g->identities++), "ssh", ssh);
}

static void identity_change(struct records *g)
{
    static const char *const events[] = {"identity.disable", "identity.enable"};
    bool create = !records_random(g, 3);
    const char *event = create ? "identity.create" : events[records_random(g, 2)];
    json_t *record = base(g, event, "ok", 0);

    person(g, record, "POST", create ? "/v1/identities" : "/v1/identities/x/switch");
    if (create)
        json_object_set_new(record, "detail", json_pack("{s:o}", "identity", identity(g)));
    else
        json_object_set_new(record, "detail", json_pack("{s:o}", "name", numbered("id-", (unsigned)records_random(g, g->identities))));
    add(g, record);
}

static void key_change(struct records *g)
{
    static const char *const outcomes[] = {"ok", "error"};
    const char *outcome = g->intent ? outcomes[records_random(g, 2)] : "intent";
    json_t *record = base(g, "key.create", outcome, 0), *key = json_pack("{s:o, s:i}", "name", numbered("key-", g->keys), "version", 1);

    json_object_set_new(record, "key", key);
    if (!g->intent) {
        person(g, record, "POST", "/v1/keys");
        record_text(record, "scheme", "statement");
        record_text(record, "purpose", "release");
        json_object_set_new(record, "detail", json_pack("{s:s, s:o}", "algorithm", "p256", "key_id", random_hex(g, 32)));
        g->intent = g->chain.next_seq;
        add(g, record);
        return;
    }
    json_object_set_new(record, "intent_seq", json_integer((json_int_t)g->intent));
    if (!strcmp(outcome, "ok")) {
        decided(g, record);
        record_text(record, "scheme", "statement");
        record_text(record, "purpose", "release");
        json_object_set_new(record, "detail", json_pack("{s:s, s:{}, s:s, s:s}", "algorithm", "p256", "birth", "key_id", BOOT, "spki_b64", "MFkwEwYHKoZIzj0CAQ=="));
    } else {
        record_text(record, "reason", "token_unavailable");
    }
    if (g->keys < RECORDS_KEYS)
        g->key[g->keys].made = !strcmp(outcome, "ok");
    g->keys++;
    g->intent = 0;
    add(g, record);
}

static const char *const STATES[] = {"active", "suspended", "retired", "destroying", "destroyed"};

static json_t *life_record(struct records *g, unsigned n, const char *event, const char *outcome, json_t *detail)
{
    bool erase = !strcmp(event, "key.erase");
    json_t *record = erase ? record_new(event, outcome, &actor_system, "") : base(g, event, outcome, 0);

    if (!erase) {
        person(g, record, "POST", "/v1/keys/x/change");
        record_text(record, "reason", "so");
    }
    json_object_set_new(record, "key", json_pack("{s:o, s:i}", "name", numbered("key-", n), "version", 1));
    json_object_set_new(record, "detail", detail);
    return record;
}

/* The removal of a key whose destruction was ordered: begun when it is due, then done. */
static void erase(struct records *g, unsigned n)
{
    struct records_key *k = &g->key[n];
    json_t *record;

    if (k->erase) {
        record = life_record(g, n, "key.erase", "ok", json_pack("{s:s, s:i, s:i, s:i}", "key_id", BOOT, "left", 0, "private", 1, "public", 1));
        json_object_set_new(record, "intent_seq", json_integer((json_int_t)k->erase));
        k->state = KEY_DESTROYED;
        k->before = KEY_ACTIVE;
        add(g, record);
    } else if (k->due <= g->now && !g->step) {
        k->erase = g->chain.next_seq;
        add(g, life_record(g, n, "key.erase", "intent", json_pack("{s:s}", "key_id", BOOT)));
    }
}

static void change_life(struct records *g, unsigned n, const char *event, enum key_state to)
{
    json_t *detail = json_pack("{s:s}", "state", STATES[to]);
    struct records_key *k = &g->key[n];
    char due[TIME_TEXT];

    if (to == KEY_DESTROYING && k->state != to) {
        k->before = k->state;
        k->due = g->now + 10 * g->pace + (int64_t)records_random(g, (uint64_t)(10 * g->pace));
        time_format(k->due, due);
        json_object_set_new(detail, "due", json_string(due));
    }
    k->state = to;
    add(g, life_record(g, n, event, "ok", detail));
}

static void life_change(struct records *g)
{
    unsigned first = (unsigned)records_random(g, RECORDS_KEYS), n;
    struct records_key *k;

    for (n = 0; n < RECORDS_KEYS && !g->key[(first + n) % RECORDS_KEYS].made; n++)
        ;
    if (n == RECORDS_KEYS)
        return;
    n = (first + n) % RECORDS_KEYS;
    k = &g->key[n];
    if (!k->compromised && !records_random(g, 8)) {
        k->compromised = true;
        change_life(g, n, "key.compromise", k->state > KEY_RETIRED ? k->state : KEY_RETIRED);
        k->before = k->state == KEY_DESTROYING ? KEY_RETIRED : KEY_ACTIVE;
    } else if (k->state == KEY_ACTIVE) {
        bool suspend = records_random(g, 3);

        change_life(g, n, suspend ? "key.suspend" : "key.retire", suspend ? KEY_SUSPENDED : KEY_RETIRED);
    } else if (k->state == KEY_SUSPENDED && records_random(g, 2)) {
        change_life(g, n, "key.resume", KEY_ACTIVE);
    } else if (k->state == KEY_SUSPENDED || k->state == KEY_RETIRED) {
        change_life(g, n, "key.destroy", KEY_DESTROYING);
    } else if (k->state == KEY_DESTROYING && !k->erase && !records_random(g, 4)) {
        change_life(g, n, "key.restore", k->before);
    } else if (k->state == KEY_DESTROYING) {
        erase(g, n);
    }
}

static void policy_change(struct records *g)
{
    json_t *record = base(g, "policy.apply", "ok", 0);

    person(g, record, "PUT", "/v1/policy");
    json_object_set_new(record, "detail", json_pack("{s:s}", "sha256", g->policy_sha256[records_random(g, RECORDS_POLICIES)]));
    add(g, record);
}

/* Found and mended again, by turns. */
static void token_change(struct records *g)
{
    bool found = records_random(g, 2);
    json_t *record = record_new("token.reconcile", found ? "error" : "ok", &actor_system, ""), *missing = json_array();

    if (found)
        json_array_append_new(missing, json_pack("{s:o, s:s, s:i, s:i, s:i}", "key_id", random_hex(g, 32), "name", "release", "private", 0, "public", 1, "version", 1));
    json_object_set_new(record, "detail", json_pack("{s:[], s:[], s:o, s:i, s:[]}", "duplicate", "foreign", "missing", missing, "others", 0, "quarantined"));
    add(g, record);
}

static void anchor_change(struct records *g)
{
    json_t *record = record_new("anchor.reset", "ok", &actor_system, "");
    json_t *detail = json_pack("{s:I, s:s}", "counter", (json_int_t)records_random(g, 1000), "how", "replaced");

    if (records_random(g, 2))
        json_object_set_new(detail, "old", json_pack("{s:i, s:o, s:i}", "counter", 3, "hash", random_hex(g, 64), "seq", 7));
    if (records_random(g, 2))
        json_object_set_new(detail, "token", json_pack("{s:o, s:i}", "hash", random_hex(g, 64), "seq", 8));
    json_object_set_new(record, "detail", detail);
    add(g, record);
}

/* The clock is set, sometimes again, and confirmed. */
static void clock_change(struct records *g)
{
    bool confirm = g->step && records_random(g, 2);
    json_t *record = confirm ? base(g, "time.confirm", "ok", 0) : record_new("time.step", "ok", &actor_system, "");

    if (confirm) {
        person(g, record, "POST", "/v1/time/confirm");
        json_object_set_new(record, "detail", json_pack("{s:I}", "seq", (json_int_t)g->step));
    } else {
        json_object_set_new(record, "detail", json_pack("{s:s, s:i, s:s}", "from", "2026-03-03T08:00:00.000000Z", "seconds", -3600, "to", "2026-03-03T07:00:00.000000Z"));
    }
    g->step = confirm ? 0 : g->n_records;
    add(g, record);
}

/* A refused creation of a key is an error record too, but has no intent. */
static void refusal(struct records *g)
{
    static const char *const events[] = {"sign.release", "key.create", "auth.refused", "read.api"};
    json_t *record = base(g, events[records_random(g, 4)], records_random(g, 2) ? "denied" : "error", (unsigned)records_random(g, g->principals));

    record_text(record, "reason", "forbidden");
    add(g, record);
}

void records_init(struct records *g, uint64_t seed)
{
    *g = (struct records){.rng = seed * UINT64_C(0x2545f4914f6cdd1d) + 1, .pace = INT64_C(1200000000), .principals = 2, .lines = BUF_INIT(LINES_MAX)};
    chain_start(&g->chain);
    for (unsigned n = 0; n < RECORDS_POLICIES; n++)
        sha256_hex(POLICY[n], strlen(POLICY[n]), g->policy_sha256[n]);
}

void records_begin(struct records *g, uint64_t seed)
{
    json_t *record = record_new("log.genesis", "ok", &actor_system, "");

    records_init(g, seed);
    g->now = INT64_C(1700000000000000);
    json_object_set_new(record, "detail",
                        json_pack("{s:{s:s, s:s}, s:i, s:[o, o], s:s, s:s, s:s}", "ca", "cert_b64", "MIIBszCCAVmgAwIBAgIB", "spki_b64", "MFkwEwYHKoZIzj0CAQ==", "format", 1,
                                  "identities", identity(g), identity(g), "instance", BOOT, "mode", "dev", "origin", "dev.longlog"));
    record_text(record, "policy", g->policy_sha256[0]);
    add(g, record);
}

void records_end(struct records *g)
{
    buf_free(&g->lines);
}

void records_add(struct records *g, unsigned n)
{
    for (uint64_t until = g->n_records + n; g->n_records < until;) {
        uint64_t dice = records_random(g, 100);

        if (dice < 70)
            sign(g);
        else if (dice < 73)
            withdraw(g);
        else if (dice < 80 || g->traffic_only)
            refusal(g);
        else if (dice < 87)
            identity_change(g);
        else if (dice < 91)
            key_change(g);
        else if (dice < 96)
            life_change(g);
        else if (dice < 97)
            token_change(g);
        else if (dice < 98)
            anchor_change(g);
        else if (dice < 99)
            clock_change(g);
        else
            policy_change(g);
    }
}

size_t records_offset(const struct records *g, uint64_t n)
{
    size_t at = 0;

    while (n--)
        at = (size_t)((const uint8_t *)memchr(g->lines.data + at, '\n', g->lines.len - at) - g->lines.data) + 1;
    return at;
}

static int read_blob(void *ctx, const char *sha256, struct buf *out, struct err *e)
{
    const struct records *g = ctx;

    for (unsigned n = 0; n < RECORDS_POLICIES; n++)
        if (!strcmp(sha256, g->policy_sha256[n])) {
            buf_puts(out, POLICY[n]);
            if (g->altered_blobs)
                buf_puts(out, "#\n");
            return 0;
        }
    return err_set(e, ERR_INTERNAL, "no blob %s", sha256);
}

struct blob_source records_blobs(const struct records *g)
{
    return (struct blob_source){read_blob, (void *)(uintptr_t)g};
}
