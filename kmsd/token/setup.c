/* The order in which a new instance is prepared. */
#include "kmsd/token/setup.h"

#include <stdio.h>
#include <unistd.h>

#include "base/enc.h"
#include "base/fsutil.h"
#include "base/timefmt.h"
#include "base/x509.h"
#include "kmsd/token/generate.h"
#include "kmsd/token/servercert.h"
#include "kmsd/token/tokeninit.h"

#define CA_YEARS 10
#define BACKDATE (5 * 60 * TIME_SECOND) /* clients whose clock is a little behind */
#define FILE_MAX 65536
#define LOCK_WAIT_MS 30000

static int check_absent(const struct settings *s, struct fault *f)
{
    const char *const made[] = {s->client_ca[0], s->tls_certificate, s->tls_key};

    for (size_t n = 0; n < sizeof made / sizeof *made; n++) {
        if (file_exists(made[n]))
            return fault_set(f, LANE_INPUT, "%s exists already; setup prepares a new instance and touches no other", made[n]);
        if (dirs_make(made[n], false, f))
            return -1;
    }
    return 0;
}

int setup_b64(json_t *object, const char *name, struct span bytes, struct fault *f)
{
    BUF_AUTO text = BUF_INIT(4 * CERT_DER_MAX);

    b64_encode(&text, bytes.data, bytes.len);
    if (buf_ok(&text) || json_object_set_new(object, name, json_string(buf_str(&text))))
        return fault_set(f, LANE_TOKEN, "out of memory");
    return 0;
}

json_t *setup_key(struct token *t, const struct method *m, const char *label, uint8_t id[static KEY_ID_LEN], struct fault *f)
{
    BUF_AUTO spki = BUF_INIT(SPKI_MAX);
    JSON_AUTO *birth = NULL;
    char hex[2 * KEY_ID_LEN + 1];
    json_t *made;

    if (random_bytes(id, KEY_ID_LEN)) {
        fault_set(f, LANE_TOKEN, "no random numbers");
        return NULL;
    }
    if (generate_key(t, m, span_of(id, KEY_ID_LEN), label, &spki, &birth, f))
        return NULL;
    hex_encode(id, KEY_ID_LEN, hex);
    made = json_pack("{s:O, s:s}", "birth", birth, "key_id", hex);
    if (made && !setup_b64(made, "spki_b64", buf_span(&spki), f))
        return made;
    json_decref(made);
    return NULL;
}

int setup_ca_certificate(struct token *t, struct span id, const char *cn, int64_t from, struct buf *der, struct fault *f)
{
    struct cert_profile p = {.kind = CERT_CA, .cn = cn, .not_before = from, .not_after = from + CA_YEARS * 365 * CERT_DAY};
    BUF_AUTO spki = BUF_INIT(SPKI_MAX);
    KEY_AUTO key = {0};

    return objects_read(t, t->objects, f) || key_public(t, method_ca.algorithm, id, &spki, f) || key_open(t, &method_ca, id, buf_span(&spki), &key,
                                                                                                          f) ||
                   random_serial(p.serial, f) || cert_make(t, &key, NULL, key.public, &p, der, f)
               ? -1
               : 0;
}

static int self_sign(struct token *t, const struct settings *s, struct span id, const char *origin, int64_t from, json_t *ca, struct fault *f)
{
    char cn[65];
    BUF_AUTO der = BUF_INIT(CERT_DER_MAX);

    if ((size_t)snprintf(cn, sizeof cn, "kmsd CA %s", origin) >= sizeof cn)
        return fault_set(f, LANE_INPUT, "the origin is too long: at most 56 characters");
    if (setup_ca_certificate(t, id, cn, from, &der, f) || write_certificate(s->client_ca[0], buf_span(&der), f))
        return -1;
    return setup_b64(ca, "cert_b64", buf_span(&der), f);
}

static int read_csr(const struct setup_options *o, struct buf *csr, struct fault *f)
{
    BUF_AUTO pem = BUF_INIT(FILE_MAX);
    struct err e = {0};

    if (!file_read(o->admin_csr, &pem, &e) && !pem_to_der(buf_span(&pem), "CERTIFICATE REQUEST", csr, &e) && !csr_check(buf_span(csr), NULL, &e))
        return 0;
    fault_err(f, LANE_INPUT, &e);
    return fault_context(f, "%.120s", o->admin_csr);
}

/* What can be found wrong before anything is made, is. */
static int check_csr(const struct setup_options *o, struct fault *f)
{
    BUF_AUTO csr = BUF_INIT(FILE_MAX);

    return o->admin_csr ? read_csr(o, &csr, f) : 0;
}

static int admin_certificate(struct token *t, struct authority *ca, const struct setup_options *o, int64_t from, json_t *line, struct fault *f)
{
    struct cert_profile p = {.kind = CERT_CLIENT, .cn = o->admin_cn, .not_before = from, .not_after = from + CERT_LEAF_MAX};
    BUF_AUTO csr = BUF_INIT(FILE_MAX);
    BUF_AUTO der = BUF_INIT(CERT_DER_MAX);

    if (!o->admin_csr)
        return 0;
    if (read_csr(o, &csr, f) || random_serial(p.serial, f) || authority_issue_profile(t, ca, buf_span(&csr), &p, &der, f))
        return -1;
    if (o->admin_out && write_certificate(o->admin_out, buf_span(&der), f))
        return -1;
    return setup_b64(line, "admin_cert_b64", buf_span(&der), f);
}

static int set_up_keys(const struct settings *s, const struct setup_options *o, json_t *line, json_t *tokens, struct fault *f)
{
    TOKEN_AUTO t = {0};
    struct authority ca = {0};
    int64_t from = clock_wall_us() - BACKDATE;
    uint8_t id[KEY_ID_LEN];
    json_t *made;
    int bad;

    if (token_open(&t, &s->keys, f) || !(made = setup_key(&t, &method_ca, LABEL_CA, id, f)))
        return -1;
    (void)json_object_set_new(line, "ca", made);
    (void)json_object_set(tokens, "keys", t.description);
    if (self_sign(&t, s, span_of(id, sizeof id), o->origin, from, made, f) || authority_open(&t, s->client_ca[0], &ca, f))
        return -1;
    bad = server_certificate(&t, &ca, s, o->origin, from, f) || admin_certificate(&t, &ca, o, from, line, f);
    authority_close(&ca);
    return bad ? -1 : 0;
}

static int set_up_checkpoint(const struct settings *s, json_t *line, json_t *tokens, struct fault *f)
{
    TOKEN_AUTO t = {0};
    uint8_t id[KEY_ID_LEN];
    json_t *made;

    if (token_open(&t, &s->checkpoint, f) || !(made = setup_key(&t, &method_checkpoint, LABEL_CHECKPOINT, id, f)))
        return -1;
    (void)json_object_set_new(line, "checkpoint", made);
    (void)json_object_set(tokens, "checkpoint", t.description);
    return 0;
}

static int set_up(const struct settings *s, const struct setup_options *o, struct buf *out, struct fault *f)
{
    JSON_AUTO *line = json_object();
    JSON_AUTO *tokens = json_object();

    if (check_csr(o, f) || check_absent(s, f) || token_prepare(&s->keys, f) || token_prepare(&s->checkpoint, f))
        return -1;
    if (token_init(&s->keys, f) || token_init(&s->checkpoint, f))
        return -1;
    if (set_up_keys(s, o, line, tokens, f) || set_up_checkpoint(s, line, tokens, f))
        return -1;
    (void)json_object_set(line, "tokens", tokens);
    if (json_object_size(line) != 3U + (o->admin_csr != NULL) || json_object_size(tokens) != 2)
        return fault_set(f, LANE_TOKEN, "out of memory");
    json_canonical(out, line);
    buf_putc(out, '\n');
    return buf_ok(out) ? fault_set(f, LANE_TOKEN, "out of memory") : 0;
}

int setup_run(const struct settings *s, const struct setup_options *o, struct buf *line, struct fault *f)
{
    struct err e = {0};
    int lock, bad;

    if (dirs_make(s->tokens_lock, false, f))
        return -1;
    lock = lock_file(s->tokens_lock, LOCK_WAIT_MS, &e);
    if (lock < 0)
        return fault_err(f, LANE_TOKEN, &e);
    bad = set_up(s, o, line, f);
    (void)close(lock);
    return bad;
}
