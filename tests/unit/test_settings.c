/* Tests of kmsd/settings.c. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kmsd/settings.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

static char dir[] = "/tmp/test_settings.XXXXXX";
static char file[64];

static int make_dir(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    snprintf(file, sizeof file, "%s/kmsd.yaml", dir);
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    unlink(file);
    return rmdir(dir);
}

static void put(const char *text)
{
    FILE *f = fopen(file, "wb");

    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    assert_int_equal(fclose(f), 0);
}

#define TOKEN(name) "  " name ": {module: /lib/p11.so, label: kmsd-" name ", pin_file: pin-" name "}\n"
#define LISTEN "listen: {ci: '127.0.0.1:8443', admin: '[::1]:8444'}\n"
#define TLS "tls: {certificate: tls/server.pem, key: /etc/kmsd/server.key, client_ca: [tls/ca.pem, /etc/other.pem]}\n"
#define TOKENS "tokens:\n  lock: tokens/lock\n" TOKEN("keys") TOKEN("checkpoint")
#define AUDIT "audit: {directory: audit}\n"
#define HEAD "version: 1\ninstance: kms.example.com\n"
#define WHOLE HEAD LISTEN TLS TOKENS AUDIT

static void is_in_dir(const char *path, const char *name)
{
    assert_int_equal(strncmp(path, dir, strlen(dir)), 0);
    assert_string_equal(path + strlen(dir), name);
}

static void minimal(void **state)
{
    struct settings s;
    struct err e = {0};

    (void)state;
    put(WHOLE);
    if (settings_load(file, &s, &e))
        fail_msg("%s", e.detail);
    assert_string_equal(s.file, file);
    assert_string_equal(s.dir, dir);
    assert_string_equal(s.instance, "kms.example.com");
    assert_string_equal(s.listen_ci, "127.0.0.1:8443");
    assert_string_equal(s.listen_admin, "[::1]:8444");
    is_in_dir(s.tls_certificate, "/tls/server.pem");
    assert_string_equal(s.tls_key, "/etc/kmsd/server.key");
    assert_int_equal(s.n_client_ca, 2);
    is_in_dir(s.client_ca[0], "/tls/ca.pem");
    assert_string_equal(s.client_ca[1], "/etc/other.pem");
    is_in_dir(s.tokens_lock, "/tokens/lock");
    is_in_dir(s.snapshots_dir, "/snapshots");
    assert_int_equal(s.snapshot_records, 65536);
    assert_string_equal(s.keys.label, "kmsd-keys");
    assert_string_equal(s.checkpoint.label, "kmsd-checkpoint");
    is_in_dir(s.checkpoint.pin_file, "/pin-checkpoint");
    assert_string_equal(s.keys.uri, "");
    assert_string_equal(s.keys.pin_credential, "");
    assert_string_equal(s.keys.initialise, "");
    assert_int_equal(s.keys.type, TOKEN_TYPE_AUTO);
    assert_string_equal(settings_token_name(&s.keys), "kmsd-keys");
    is_in_dir(settings_pin_place(&s.keys), "/pin-keys");
    assert_string_equal(s.keys.softhsm_conf, "");
    assert_string_equal(s.keys.sync, "");
    is_in_dir(s.audit_dir, "/audit");
    is_in_dir(s.anchor, "/anchor/anchor");
    is_in_dir(s.index, "/index/state.db");
    assert_int_equal(s.connections, 1024);
    assert_int_equal(s.connections_per_peer, 256);
    assert_int_equal(s.request_seconds, 15);
    assert_int_equal(s.body_bytes, 1048576);
}

static void limits(void **state)
{
    struct settings s;
    struct err e = {0};

    (void)state;
    put(WHOLE "anchor: /elsewhere/anchor\nreader: {index: /elsewhere/db}\nlimits: {connections: 1, connections_per_peer: 65536, request_seconds: 300, body_bytes: 1024}\n");
    assert_int_equal(settings_load(file, &s, &e), 0);
    assert_int_equal(s.connections, 1);
    assert_string_equal(s.anchor, "/elsewhere/anchor");
    assert_string_equal(s.index, "/elsewhere/db");
    assert_int_equal(s.connections_per_peer, 65536);
    assert_int_equal(s.request_seconds, 300);
    assert_int_equal(s.body_bytes, 1024);
}

static void messages(void **state)
{
    struct settings s;
    struct err e = {0};

    (void)state;
    put(WHOLE);
    assert_int_equal(settings_load(file, &s, &e), 0);
    assert_int_equal(s.log_format, LOG_FORMAT_LOGFMT);
    assert_int_equal(s.log_level, LOG_LEVEL_INFO);
    put(WHOLE "log: {format: json, level: warning}\n");
    assert_int_equal(settings_load(file, &s, &e), 0);
    assert_int_equal(s.log_format, LOG_FORMAT_JSON);
    assert_int_equal(s.log_level, LOG_LEVEL_WARNING);
    put(WHOLE "log: {format: xml}\n");
    assert_int_equal(settings_load(file, &s, &e), -1);
    assert_non_null(strstr(e.detail, "must be logfmt or json"));
}

#define HSM "tokens:\n  lock: l\n  keys: {module: /lib/p11.so, uri: 'pkcs11:token=a;serial=1', pin_credential: pin.keys, type: %s, initialise: 'a=b'}\n"

static void other_tokens(void **state)
{
    static const char *const types[] = {"auto", "softhsm", "tpm2", "nss", "opencryptoki", "generic"};
    struct settings s;
    struct err e = {0};

    (void)state;
    for (unsigned n = 0; n < COUNT(types); n++) {
        char text[2048], at[128];

        snprintf(text, sizeof text, HEAD LISTEN TLS HSM TOKEN("checkpoint") AUDIT, types[n]);
        put(text);
        if (settings_load(file, &s, &e))
            fail_msg("%s", e.detail);
        assert_int_equal(s.keys.type, n);
        assert_string_equal(s.keys.label, "");
        assert_string_equal(s.keys.uri, "pkcs11:token=a;serial=1");
        snprintf(at, sizeof at, "%s:7:36", file);
        assert_string_equal(s.keys.uri_at, at);
        assert_string_equal(s.keys.pin_file, "");
        assert_string_equal(s.keys.initialise, "a=b");
        assert_string_equal(settings_token_name(&s.keys), s.keys.uri);
        assert_string_equal(settings_pin_place(&s.keys), "pin.keys");
        assert_string_equal(s.checkpoint.uri_at, "");
    }
}

/* What settings_write makes, settings_load takes. */
static void round_trip(void **state)
{
    struct settings s;
    struct err e = {0};
    struct stat st;

    (void)state;
    assert_int_equal(settings_write(file, "dev.example", "127.0.0.1:0", "[::1]:0", "/usr/lib/softhsm/libsofthsm2.so", &e), 0);
    if (settings_load(file, &s, &e))
        fail_msg("%s", e.detail);
    assert_string_equal(s.instance, "dev.example");
    assert_string_equal(s.listen_ci, "127.0.0.1:0");
    assert_string_equal(s.listen_admin, "[::1]:0");
    assert_string_equal(s.keys.module, "/usr/lib/softhsm/libsofthsm2.so");
    assert_string_equal(s.checkpoint.label, "kmsd-checkpoint");
    is_in_dir(s.keys.softhsm_conf, "/tokens/keys/softhsm2.conf");
    is_in_dir(s.checkpoint.sync, "/tokens/checkpoint/store");
    is_in_dir(s.anchor, "/anchor/anchor");
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_mode & 0007, 0);
}

/* Each is refused at its place (empty: the file as a whole), with words about the cure. */
static void refuses(void **state)
{
    static const struct {
        const char *text, *place, *words;
    } rows[] = {
        {"", ":1:1", ""},
        {"[]\n", ":1:1", "mapping"},
        {LISTEN TLS TOKENS AUDIT "instance: a\n", "", "version"},
        {"version: 2\n", ":1:10", "version must be 1"},
        {"version: 1\nversion: 1\n", ":2:1", "twice"},
        {"version: 1\n" LISTEN TLS TOKENS AUDIT, "", "instance is missing"},
        {HEAD TLS TOKENS AUDIT, "", "listen.ci is missing"},
        {HEAD "listen: {ci: '127.0.0.1:1'}\n" TLS TOKENS AUDIT, "", "listen.admin is missing"},
        {HEAD LISTEN TOKENS AUDIT, "", "tls.certificate is missing"},
        {HEAD LISTEN TLS "tokens:\n  lock: l\n" TOKEN("keys") AUDIT, "", "tokens.checkpoint.module is missing"},
        {HEAD LISTEN TLS TOKENS, "", "audit.directory is missing"},
        {WHOLE "anchor: ''\n", ":10:9", "path"},
        {WHOLE "anchor: {file: a}\n", ":10:9", "single value"},
        {WHOLE "debug: true\n", ":10:1", "debug"},
        {HEAD "listen: {ci: '127.0.0.1:1', admin: '127.0.0.1:2', web: '127.0.0.1:3'}\n", ":3:51", "listen.web"},
        {HEAD "listen: 127.0.0.1\n", ":3:1", "listen must be a mapping"},
        {HEAD "listen: {ci: [a], admin: b}\n", ":3:14", "single value"},
        {HEAD "listen: {ci: '', admin: b}\n", ":3:", "text of 1 to"},
        {"version: 1\ninstance: Kms Example\n", ":2:11", "a-z"},
        {"version: 1\ninstance:\n", ":2:", "instance"},
        {HEAD "tls: {certificate: '', key: k, client_ca: [c]}\n", ":3:", "path"},
        {HEAD "tls: {certificate: c, key: k, client_ca: c}\n", ":3:42", "list"},
        {HEAD "tls: {certificate: c, key: k, client_ca: []}\n", ":3:42", "list"},
        {HEAD "tls: {certificate: c, key: k, client_ca: [[c]]}\n", ":3:43", "file name"},
        {HEAD "tls: {certificate: c, key: k, client_ca: [a, b, c, d, e, f, g, h, i]}\n", ":3:42", "8"},
        {HEAD "tokens:\n  keys: {label: a-label-that-is-much-longer-than-a-token-has-room-for}\n", ":4:17", "32 bytes"},
        {WHOLE "limits: {connections: 0}\n", ":10:23", "1 to 65536"},
        {WHOLE "limits: {connections: 65537}\n", ":10:23", "1 to 65536"},
        {WHOLE "limits: {connections: 1e3}\n", ":10:23", "number"},
        {WHOLE "limits: {request_seconds: 301}\n", ":10:27", "1 to 300"},
        {WHOLE "limits: {body_bytes: 1023}\n", ":10:22", "1024 to"},
        {WHOLE "limits: {body_bytes: -1}\n", ":10:22", "number"},
        {WHOLE "listen.ci: 0.0.0.0:1\n", ":10:1", "no setting listen.ci"},
        {HEAD "tokens:\n  keys.label: a\n", ":4:3", "no setting tokens.keys.label"},
        {HEAD "tokens:\n  keys: {module: m, pin_file: p}\n  checkpoint: {module: m, label: l, pin_file: p}\n", "", "missing"},
        {HEAD LISTEN TLS "tokens:\n  lock: l\n  keys: {module: m, pin_file: p}\n" TOKEN("checkpoint") AUDIT, "", "tokens.keys.label is missing"},
        {HEAD LISTEN TLS "tokens:\n  lock: l\n  keys: {module: m, uri: 'pkcs11:token=a'}\n" TOKEN("checkpoint") AUDIT, "", "tokens.keys.pin_file is missing"},
        {HEAD "tokens:\n  keys: {label: a, uri: 'pkcs11:token=a'}\n", ":4:20", "exclude each other"},
        {HEAD "tokens:\n  keys: {uri: 'pkcs11:token=a', label: a}\n", ":4:33", "exclude each other"},
        {HEAD "tokens:\n  keys: {pin_file: a, pin_credential: a}\n", ":4:23", "exclude each other"},
        {HEAD "tokens:\n  keys: {pin_credential: ../a}\n", ":4:26", "letters"},
        {HEAD "tokens:\n  keys: {pin_credential: .a}\n", ":4:26", "letters"},
        {HEAD "tokens:\n  keys: {uri: 'token=a'}\n", ":4:15", "begin with pkcs11:"},
        {HEAD "tokens:\n  keys: {uri: 'pkcs11:token=a?pin-value=1234'}\n", ":4:15", "must not hold a PIN"},
        {HEAD "tokens:\n  keys: {uri: 'pkcs11:token=a?pin-source=/x'}\n", ":4:15", "must not hold a PIN"},
        {HEAD "tokens:\n  keys: {type: yubihsm}\n", ":4:16", "auto, softhsm"},
        {HEAD "tokens:\n  keys: {type: ''}\n", ":4:16", "auto, softhsm"},
        {HEAD "tokens:\n  keys: {pin: 1234}\n", ":4:10", "tokens.keys.pin"},
        {HEAD "instance: again\n", ":3:1", "twice"},
        {HEAD "listen: &a {ci: b}\n", ":3:", "anchors"},
        {HEAD "listen: {\n", ":", ""},
    };

    (void)state;
    for (size_t n = 0; n < COUNT(rows); n++) {
        struct settings s;
        struct err e = {0};
        const char *at;

        put(rows[n].text);
        if (!settings_load(file, &s, &e))
            fail_msg("accepted:\n%s", rows[n].text);
        at = strstr(e.detail, file);
        if (e.code != ERR_BAD_REQUEST || !at || strncmp(at + strlen(file), rows[n].place, strlen(rows[n].place)) || !strstr(e.detail, rows[n].words))
            fail_msg("wanted %s ... %s, got %s for:\n%s", rows[n].place, rows[n].words, e.detail, rows[n].text);
    }
}

static void absent(void **state)
{
    struct settings s;
    struct err e = {0};

    (void)state;
    assert_int_equal(settings_load("/nowhere/kmsd.yaml", &s, &e), -1);
    assert_non_null(strstr(e.detail, "/nowhere/kmsd.yaml"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(minimal), cmocka_unit_test(limits), cmocka_unit_test(messages), cmocka_unit_test(other_tokens), cmocka_unit_test(round_trip), cmocka_unit_test(refuses), cmocka_unit_test(absent),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
