/* Identities: that each was made, disabled and enabled as the signed request asks. */
#include <stdio.h>
#include <string.h>

#include "audit/verify/check.h"
#include "base/enc.h"
#include "base/sshsig.h"
#include "base/timefmt.h"
#include "base/x509.h"

#define DER_MAX (128u << 10)

/* Acts with a certificate of its own that is not over; or, under a name of another CA, with any that is nobody's. */
static void check_cred(struct check *c, const struct record *r, const struct identity *i, const char *cred)
{
    const struct cert *cert = identity_cert(i, cred);
    const struct identity *owner = state_owner(&c->state, cred);

    if (cert && cert->not_after < r->time)
        (void)check_fail(c, r, FINDING_INVALID, "the certificate of identity %.64s had expired", i->name);
    else if (!cert && owner)
        (void)check_lacks(c, r, "the certificate belongs to identity %.64s, not to %.64s", owner->name, i->name);
    else if (!cert && !i->n_san)
        (void)check_lacks(c, r, "the certificate does not belong to identity %.64s", i->name);
}

const struct identity *actor_check(struct check *c, const struct record *r)
{
    const json_t *actor = json_object_get(r->json, "actor");
    const char *name = text_of(actor, "name");
    const struct identity *i = state_identity(&c->state, name);

    if (!i) {
        (void)check_lacks(c, r, "there is no identity %.64s at that point of the log", name);
        return NULL;
    }
    if (!i->enabled) {
        (void)check_lacks(c, r, "identity %.64s is disabled at that point of the log", name);
        return NULL;
    }
    if (strcmp(i->kind, text_of(actor, "kind")) || strcmp(text_of(actor, "method"), "mtls"))
        (void)check_fail(c, r, FINDING_INVALID, "identity %.64s is of kind %.16s", name, i->kind);
    check_cred(c, r, i, text_of(actor, "cred"));
    return i;
}

void credentials_take(struct check *c, const struct record *r, struct identity *i)
{
    for (size_t n = 0; n < i->n_cert; n++) {
        const char *sha256 = i->cert[n].sha256;
        const struct identity *owner = state_owner(&c->state, sha256);

        if (owner && owner != i)
            (void)check_fail(c, r, FINDING_INVALID, "the certificate belongs to identity %.64s", owner->name);
        else if (state_own(&c->state, sha256, i))
            (void)check_fail(c, r, FINDING_INVALID, "memory is out");
    }
}

/* One credential against the bytes it was made of. */
static int check_certificate(struct check *c, const struct record *r, const json_t *credential, struct span der, bool issued)
{
    char cert[SHA256_HEX], spki[SHA256_HEX], not_after[TIME_TEXT];
    struct cert_facts f;
    struct err e = {0};

    if (cert_facts(der, &f, &e))
        return check_fail(c, r, FINDING_INVALID, "the certificate of the identity cannot be read");
    hex_encode(f.sha256, sizeof f.sha256, cert);
    hex_encode(f.spki_sha256, sizeof f.spki_sha256, spki);
    time_format(f.not_after, not_after);
    if (strcmp(text_of(credential, "kind"), "certificate") || strcmp(text_of(credential, "cert_sha256"), cert) ||
        strcmp(text_of(credential, "spki_sha256"), spki) || strcmp(text_of(credential, "not_after"), not_after) ||
        json_is_true(json_object_get(credential, "issued")) != issued)
        return check_fail(c, r, FINDING_INVALID, "the credential is not that of the certificate");
    return 0;
}

static bool is_client(struct span der)
{
    struct cert_facts f;
    struct err e = {0};

    return !cert_facts(der, &f, &e) && f.client_auth && !f.is_ca;
}

int issued_check(struct check *c, const struct record *r, const char *pem, const json_t *credential, const char *name)
{
    const char *b64 = text_of(r->detail, "certificate_b64");
    BUF_AUTO der = BUF_INIT(DER_MAX), csr = BUF_INIT(DER_MAX), asked = BUF_INIT(DER_MAX), given = BUF_INIT(DER_MAX);
    struct err e = {0};

    if (!*b64 || b64_decode(&der, b64, strlen(b64)) || cert_spki(buf_span(&der), &given, &e))
        return check_fail(c, r, FINDING_INVALID, "the issued certificate is missing or unreadable");
    if (pem && (pem_to_der(span_str(pem), "CERTIFICATE REQUEST", &csr, &e) || csr_check(buf_span(&csr), &asked, &e) ||
                !span_eq(buf_span(&asked), buf_span(&given))))
        return check_fail(c, r, FINDING_INVALID, "the certificate was issued for another key than the signed request holds");
    if (!is_client(buf_span(&der)))
        return check_fail(c, r, FINDING_INVALID, "the issued certificate is no certificate of a client");
    if (!ca_issued(c, buf_span(&der)))
        return check_fail(c, r, FINDING_SIGNATURE, "the certificate was not issued by a CA that the log names");
    if (!cert_is_named(buf_span(&der), name))
        return check_fail(c, r, FINDING_INVALID, "the issued certificate names another identity than %.64s", name);
    if (state_take(&c->state.issued, text_of(credential, "cert_sha256")))
        return check_fail(c, r, FINDING_INVALID, "that certificate was issued before");
    return check_certificate(c, r, credential, buf_span(&der), true);
}

static int by_certificate(struct check *c, const struct record *r, const json_t *body, const json_t *credential)
{
    BUF_AUTO der = BUF_INIT(DER_MAX);
    struct err e = {0};

    if (pem_to_der(span_str(text_of(body, "certificate")), "CERTIFICATE", &der, &e))
        return check_fail(c, r, FINDING_INVALID, "the certificate in the signed request cannot be read");
    if (!is_client(buf_span(&der)))
        return check_fail(c, r, FINDING_INVALID, "the certificate in the signed request is no certificate of a client");
    return check_certificate(c, r, credential, buf_span(&der), false);
}

static int by_name(struct check *c, const struct record *r, const json_t *body, const json_t *credential, const char *kind)
{
    BUF_AUTO der = BUF_INIT(DER_MAX), spki = BUF_INIT(DER_MAX), recorded = BUF_INIT(DER_MAX), id = BUF_INIT(DER_MAX);
    const char *b64 = text_of(credential, "ca_spki_b64");
    char hash[SHA256_HEX];
    struct err e = {0};

    if (pem_to_der(span_str(text_of(body, "ca")), "CERTIFICATE", &der, &e) || cert_spki(buf_span(&der), &spki, &e) ||
        b64_decode(&recorded, b64, strlen(b64)))
        return check_fail(c, r, FINDING_INVALID, "the CA of the credential cannot be read");
    sha256_hex(spki.data, spki.len, hash);
    if (strcmp(text_of(credential, "kind"), kind) || strcmp(text_of(credential, "value"), text_of(body, kind)) ||
        strcmp(text_of(credential, "ca_spki_sha256"), hash) || !span_eq(buf_span(&spki), buf_span(&recorded)))
        return check_fail(c, r, FINDING_INVALID, "the credential is not the name and CA of the signed request");
    buf_printf(&id, "%s\n%s\n%s", hash, kind, text_of(body, kind));
    return state_take(&c->state.names, buf_str(&id)) ? check_fail(c, r, FINDING_INVALID, "that name under that CA belongs to an identity already") : 0;
}

static bool same_ssh(const json_t *asked, const json_t *recorded)
{
    char bare[SSH_KEY_TEXT_MAX];
    struct err e = {0};

    if (json_array_size(asked) != json_array_size(recorded))
        return false;
    for (size_t n = 0; n < json_array_size(asked); n++) {
        const char *line = json_string_value(json_array_get(asked, n));

        if (!line || ssh_key_normalise(line, bare, sizeof bare, &e) || strcmp(bare, json_string_value(json_array_get(recorded, n))))
            return false;
    }
    return true;
}

/* People get a random handle; everybody else the name that was asked for. */
static bool same_name(const json_t *body, const char *name)
{
    if (strcmp(text_of(body, "kind"), "human"))
        return !strcmp(text_of(body, "name"), name);
    return !json_object_get(body, "name") && !strncmp(name, "h-", 2) && strlen(name) == 18 && strspn(name + 2, "0123456789abcdef") == 16;
}

static bool only_known(const json_t *body)
{
    static const char *const known[] = {"kind", "name", "csr", "certificate", "spiffe", "dns", "ca", "ssh", "days"};
    size_t n = 0;

    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        n += json_object_get(body, known[i]) != NULL;
    return n == json_object_size(body);
}

/* People have SSH keys, which are nobody else's, and names that begin with h-; others have neither. */
static void check_kind(struct check *c, const struct record *r, const json_t *identity)
{
    const json_t *ssh = json_object_get(identity, "ssh");
    bool human = !strcmp(text_of(identity, "kind"), "human"), handle = !strncmp(text_of(identity, "name"), "h-", 2);

    if (human != handle || human != (json_array_size(ssh) > 0))
        (void)check_fail(c, r, FINDING_INVALID, "name and SSH keys are not those of an identity of that kind");
    for (size_t n = 0; n < json_array_size(ssh); n++)
        if (map_get(&c->state.ssh, json_string_value(json_array_get(ssh, n))))
            (void)check_fail(c, r, FINDING_INVALID, "an SSH key of it belongs to an identity already");
}

static void judge_create(struct check *c, const struct record *r, const json_t *body, const json_t *identity)
{
    const json_t *creds = json_object_get(identity, "credentials"), *credential = json_array_get(creds, 0);

    if (!only_known(body) || strcmp(text_of(body, "kind"), text_of(identity, "kind")) || !same_name(body, text_of(identity, "name")) ||
        !same_ssh(json_object_get(body, "ssh"), json_object_get(identity, "ssh")) || json_array_size(creds) != 1)
        (void)check_fail(c, r, FINDING_INVALID, "the signed request asks for another identity");
    else if (json_object_get(body, "csr"))
        (void)issued_check(c, r, text_of(body, "csr"), credential, text_of(identity, "name"));
    else if (json_object_get(r->detail, "certificate_b64"))
        (void)check_fail(c, r, FINDING_INVALID, "a certificate was issued that the signed request does not ask for");
    else if (json_object_get(body, "certificate"))
        (void)by_certificate(c, r, body, credential);
    else
        (void)by_name(c, r, body, credential, json_object_get(body, "spiffe") ? "spiffe" : "dns");
}

static void on_create(struct check *c, const struct record *r)
{
    const json_t *identity = json_object_get(r->detail, "identity");
    JSON_AUTO *body = request_json(c, r, "POST", "/v1/identities");
    struct identity *made;

    if (body)
        judge_create(c, r, body, identity);
    check_kind(c, r, identity);
    made = state_add_identity(&c->state, identity);
    if (made)
        credentials_take(c, r, made);
    else
        (void)check_fail(c, r, FINDING_INVALID, "there is an identity of that name already");
}

static void on_switch(struct check *c, const struct record *r)
{
    bool enable = r->event == EVENT_IDENTITY_ENABLE;
    const char *name = text_of(r->detail, "name");
    struct identity *i = state_identity(&c->state, name);
    char path[512];
    JSON_AUTO *body = NULL;

    (void)snprintf(path, sizeof path, "/v1/identities/%s/%s", name, enable ? "enable" : "disable");
    body = request_json(c, r, "POST", path);
    if (body && (strcmp(text_of(body, "reason"), text_of(r->json, "reason")) || json_object_size(body) != 1))
        (void)check_fail(c, r, FINDING_INVALID, "the reason is not that of the signed request");
    if (!i) {
        (void)check_lacks(c, r, "there is no identity %.64s", name);
        return;
    }
    if (i->enabled == enable)
        (void)check_lacks(c, r, "identity %.64s is %s already", name, enable ? "enabled" : "disabled");
    i->enabled = enable;
    if (!enable && !strcmp(i->kind, "human"))
        applier_check(c, r);
}

void identity_check(struct check *c, const struct record *r)
{
    if (r->outcome != OUTCOME_OK)
        return;
    if (r->event == EVENT_IDENTITY_CREATE)
        on_create(c, r);
    else
        on_switch(c, r);
}
