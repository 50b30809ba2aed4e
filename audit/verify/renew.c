/* Renewed certificates: issued by the CA for who asked, or for whom a person signed; what was dropped was there. */
#include <stdio.h>
#include <string.h>

#include "audit/verify/check.h"

#define CERTIFICATES_MAX 4 /* of an identity */

/* A job asks for itself, with nothing but its certificate. */
static void by_job(struct check *c, const struct record *r, const char *name)
{
    const struct identity *who = actor_check(c, r);

    if (who && !strcmp(who->kind, "human"))
        (void)check_fail(c, r, FINDING_INVALID, "a person's certificate was renewed without a signed request");
    if (strcmp(text_of(json_object_get(r->json, "actor"), "name"), name))
        (void)check_fail(c, r, FINDING_INVALID, "one identity renewed the certificate of another without a signed request");
    (void)issued_check(c, r, NULL, json_object_get(r->detail, "credential"));
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
        (void)issued_check(c, r, text_of(body, "csr"), json_object_get(r->detail, "credential"));
}

void renew_check(struct check *c, const struct record *r)
{
    const json_t *dropped = json_object_get(r->detail, "dropped");
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
    for (size_t n = 0; n < json_array_size(dropped); n++)
        if (identity_drop_cert(i, json_string_value(json_array_get(dropped, n))))
            (void)check_lacks(c, r, "it drops a certificate that identity %.64s does not have", name);
    if (identity_add_cert(i, text_of(json_object_get(r->detail, "credential"), "cert_sha256")))
        (void)check_fail(c, r, FINDING_INVALID, "memory is out");
    if (i->n_cert > CERTIFICATES_MAX)
        (void)check_fail(c, r, FINDING_INVALID, "identity %.64s has more certificates than one may have", name);
}
