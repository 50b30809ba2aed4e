/* Renewed certificates: issued by the CA for who asked, or for whom a person signed; what was dropped was there. */
#include <stdio.h>
#include <string.h>

#include "audit/verify/check.h"

#define CREDENTIALS_MAX 4 /* of an identity */

/* Those that are over go; if as many as there may be are left, one that is not in use makes room. */
static void drop(struct check *c, const struct record *r, struct identity *i)
{
    const json_t *dropped = json_object_get(r->detail, "dropped");
    const char *used = text_of(json_object_get(r->json, "actor"), "cred");
    size_t n_over = 0, n_room = 0;

    for (size_t n = 0; n < i->n_cert; n++)
        n_over += i->cert[n].not_after <= r->time;
    bool full = i->n_cert + i->n_san - n_over >= CREDENTIALS_MAX;
    for (size_t n = 0; n < json_array_size(dropped); n++) {
        const char *sha256 = json_string_value(json_array_get(dropped, n));
        const struct cert *cert = identity_cert(i, sha256);

        if (!cert) {
            (void)check_lacks(c, r, "it drops a certificate that identity %.64s does not have", i->name);
            continue;
        }
        if (cert->not_after > r->time && (!full || n_room++ || !strcmp(sha256, used)))
            (void)check_lacks(c, r, "it drops a certificate of identity %.64s that is not over and need not make room", i->name);
        identity_drop_cert(i, cert);
    }
}

/* A job asks for itself, with nothing but its certificate: one for the same key. */
static void by_job(struct check *c, const struct record *r, const char *name)
{
    const struct identity *who = actor_check(c, r);
    const json_t *credential = json_object_get(r->detail, "credential");
    const struct cert *used = who ? identity_cert(who, text_of(json_object_get(r->json, "actor"), "cred")) : NULL;

    if (who && !strcmp(who->kind, "human"))
        (void)check_fail(c, r, FINDING_INVALID, "a person's certificate was renewed without a signed request");
    if (strcmp(text_of(json_object_get(r->json, "actor"), "name"), name))
        (void)check_fail(c, r, FINDING_INVALID, "one identity renewed the certificate of another without a signed request");
    if (used && strcmp(used->spki_sha256, text_of(credential, "spki_sha256")))
        (void)check_fail(c, r, FINDING_INVALID, "the certificate of %.64s was renewed for another key, which takes a signed request", name);
    (void)issued_check(c, r, NULL, credential, name);
}

static void by_person(struct check *c, const struct record *r, const char *name)
{
    char path[512];
    JSON_AUTO *body = NULL;

    (void)snprintf(path, sizeof path, "/v1/identities/%s/credentials", name);
    body = request_json(c, r, "POST", path);
    if (body && json_object_size(body) != 1U + (json_object_get(body, "days") != NULL))
        (void)check_fail(c, r, FINDING_INVALID, "the signed request asks for something else");
    if (body)
        (void)issued_check(c, r, text_of(body, "csr"), json_object_get(r->detail, "credential"), name);
}

/* Who renews for oneself does so with a certificate that the service issued. */
static void check_own(struct check *c, const struct record *r, const struct identity *i)
{
    const json_t *actor = json_object_get(r->json, "actor");
    const struct cert *used = identity_cert(i, text_of(actor, "cred"));

    if (!strcmp(text_of(actor, "name"), i->name) && (!used || !used->issued))
        (void)check_lacks(c, r, "identity %.64s renewed with a certificate that this service did not issue", i->name);
}

void renew_check(struct check *c, const struct record *r)
{
    const json_t *credential = json_object_get(r->detail, "credential");
    const char *name = text_of(r->detail, "name");
    struct identity *i = state_identity(&c->state, name);

    if (r->outcome != OUTCOME_OK)
        return;
    if (json_object_get(r->json, "request"))
        by_person(c, r, name);
    else
        by_job(c, r, name);
    if (!i) {
        (void)check_lacks(c, r, "there is no identity %.64s", name);
        return;
    }
    check_own(c, r, i);
    drop(c, r, i);
    if (identity_add_cert(i, credential))
        (void)check_fail(c, r, FINDING_INVALID, "memory is out");
    credentials_take(c, r, i);
    if (i->n_cert + i->n_san > CREDENTIALS_MAX)
        (void)check_fail(c, r, FINDING_INVALID, "identity %.64s has more credentials than one may have", name);
}
