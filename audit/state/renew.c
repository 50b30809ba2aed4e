/* The fold of a renewed certificate: an identity gets another credential, and loses those that the record names. */
#include <stdlib.h>
#include <string.h>

#include "audit/state/internal.h"
#include "audit/state/tree.h"

static int drop(struct state *s, struct identity *i, const char *sha256, struct err *e)
{
    char id[SHA256_HEX + 2];
    struct credential_ref *ref;
    unsigned n = 0;

    while (n < i->n_credentials && (i->credential[n].kind != CREDENTIAL_CERTIFICATE || strcmp(i->credential[n].cert_sha256, sha256)))
        n++;
    if (n == i->n_credentials)
        return err_set(e, ERR_INTERNAL, "a record drops a certificate that identity %s does not have", i->name);
    memcpy(id, "c:", 2);
    memcpy(id + 2, i->credential[n].cert_sha256, SHA256_HEX);
    ref = tree_find(&s->credentials, id);
    if (ref) {
        tree_remove(&s->credentials, ref);
        free(ref);
    }
    memmove(&i->credential[n], &i->credential[n + 1], (--i->n_credentials - n) * sizeof *i->credential);
    memset(&i->credential[i->n_credentials], 0, sizeof *i->credential);
    return 0;
}

int fold_renew(struct fold *f, struct err *e)
{
    struct identity *i = state_identity(f->s, rec_str(f->detail, "name"));
    const json_t *dropped = rec_obj(f->detail, "dropped");

    if (!i)
        return err_set(e, ERR_INTERNAL, "a record names an identity that does not exist");
    for (size_t n = 0; n < json_array_size(dropped); n++) {
        const char *sha256 = json_string_value(json_array_get(dropped, n));

        if (!sha256 || drop(f->s, i, sha256, e))
            return sha256 ? -1 : err_set(e, ERR_INTERNAL, "a record drops something that is no certificate");
    }
    if (i->n_credentials == CREDENTIALS_MAX || credential_from_json(rec_obj(f->detail, "credential"), &i->credential[i->n_credentials]))
        return err_set(e, ERR_INTERNAL, "identity %s: a new credential does not fit", i->name);
    return fold_add_credential(f->s, i, &i->credential[i->n_credentials++], e);
}

int state_issued(const struct state *s, struct span der, struct err *e)
{
    struct err none = {0};

    if (s->ca_before.len && !cert_signed_by(der, buf_span(&s->ca_before), &none))
        return 0;
    return cert_signed_by(der, buf_span(&s->ca_spki), e);
}
