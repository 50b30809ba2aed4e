/* Identities between their record form and their state form. */
#include <stdlib.h>
#include <string.h>

#include "audit/state/internal.h"
#include "base/enc.h"

static const char *const KIND_NAME[] = {[CREDENTIAL_CERTIFICATE] = "certificate", [CREDENTIAL_SPIFFE] = "spiffe", [CREDENTIAL_DNS] = "dns"};

static int copy(char *out, size_t size, const char *text)
{
    size_t n = strlen(text);

    if (n >= size)
        return -1;
    memcpy(out, text, n + 1);
    return 0;
}

json_t *credential_json(const struct credential *c)
{
    if (c->kind == CREDENTIAL_CERTIFICATE)
        return json_pack("{s:s, s:s, s:s, s:s, s:b}", "kind", KIND_NAME[c->kind], "cert_sha256", c->cert_sha256, "spki_sha256", c->spki_sha256,
                         "not_after", c->not_after, "issued", (int)c->issued);
    BUF_AUTO b64 = BUF_INIT(8192);

    b64_encode(&b64, c->ca_spki.data, c->ca_spki.len);
    return json_pack("{s:s, s:s, s:s, s:s}", "kind", KIND_NAME[c->kind], "value", c->value, "ca_spki_sha256", c->ca_spki_sha256, "ca_spki_b64",
                     buf_str(&b64));
}

json_t *identity_json(const struct identity *i)
{
    JSON_AUTO *credentials = json_array();
    JSON_AUTO *ssh = json_array();

    for (unsigned n = 0; n < i->n_credentials; n++)
        json_array_append_new(credentials, credential_json(&i->credential[n]));
    for (unsigned n = 0; n < i->n_ssh; n++)
        json_array_append_new(ssh, json_string(i->ssh[n]));
    return json_pack("{s:s, s:s, s:O, s:O}", "name", i->name, "kind", i->kind, "credentials", credentials, "ssh", ssh);
}

int credential_from_json(const json_t *j, struct credential *c)
{
    const char *kind = rec_str(j, "kind"), *spki = rec_str(j, "ca_spki_b64");

    if (!strcmp(kind, "certificate")) {
        c->kind = CREDENTIAL_CERTIFICATE;
        c->issued = json_is_true(rec_obj(j, "issued"));
        return copy(c->cert_sha256, sizeof c->cert_sha256, rec_str(j, "cert_sha256")) ||
               copy(c->spki_sha256, sizeof c->spki_sha256, rec_str(j, "spki_sha256")) || copy(c->not_after, sizeof c->not_after, rec_str(j, "not_after"))
                   ? -1
                   : 0;
    }
    if (!strcmp(kind, "spiffe"))
        c->kind = CREDENTIAL_SPIFFE;
    else if (!strcmp(kind, "dns"))
        c->kind = CREDENTIAL_DNS;
    else
        return -1;
    c->ca_spki = BUF_INIT(4096);
    return b64_decode(&c->ca_spki, spki, strlen(spki)) || copy(c->value, sizeof c->value, rec_str(j, "value")) ||
                   copy(c->ca_spki_sha256, sizeof c->ca_spki_sha256, rec_str(j, "ca_spki_sha256"))
               ? -1
               : 0;
}

int identity_from_json(const json_t *j, struct identity *out, struct err *e)
{
    const json_t *credentials = rec_obj(j, "credentials"), *ssh = rec_obj(j, "ssh");

    memset(out, 0, sizeof *out);
    if (copy(out->name, sizeof out->name, rec_str(j, "name")) || copy(out->kind, sizeof out->kind, rec_str(j, "kind")) || !out->name[0] ||
        json_array_size(credentials) > CREDENTIALS_MAX || json_array_size(ssh) > SSH_KEYS_MAX)
        return err_set(e, ERR_INTERNAL, "a record holds an identity that does not fit its form");
    for (size_t n = 0; n < json_array_size(credentials); n++, out->n_credentials++)
        if (credential_from_json(json_array_get(credentials, n), &out->credential[n]))
            return err_set(e, ERR_INTERNAL, "identity %s: a credential does not fit its form", out->name);
    for (size_t n = 0; n < json_array_size(ssh); n++, out->n_ssh++) {
        const char *key = json_string_value(json_array_get(ssh, n));

        if (!key || !(out->ssh[n] = strdup(key)))
            return err_set(e, ERR_INTERNAL, "identity %s: an SSH key does not fit its form", out->name);
    }
    out->enabled = true;
    return 0;
}

void identity_clear(struct identity *i)
{
    for (unsigned n = 0; n < SSH_KEYS_MAX; n++)
        free(i->ssh[n]);
    for (unsigned n = 0; n < CREDENTIALS_MAX; n++)
        buf_free(&i->credential[n].ca_spki);
    memset(i, 0, sizeof *i);
}

struct policy_subject identity_subject(const struct identity *i)
{
    return (struct policy_subject){.name = i->name, .kind = i->kind, .founder = i->founder};
}
