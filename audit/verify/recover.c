/* An administrator whom the owner of the machine let in: nobody signed for it, so whoever reads the log must know. */
#include <string.h>

#include "audit/verify/check.h"

void recover_check(struct check *c, const struct record *r)
{
    const json_t *identity = json_object_get(r->detail, "identity"), *creds = json_object_get(identity, "credentials");
    const char *policy = text_of(r->detail, "policy_sha256"), *name = text_of(identity, "name");
    struct identity *made;

    report_note(c->report, "record %llu: ADMINISTRATOR RECOVERED: whoever owned the machine made %.64s an administrator%s; no person signed for it",
                (unsigned long long)r->seq, name, *policy ? " and put another policy in force" : "");
    if (strcmp(text_of(identity, "kind"), "human") || json_array_size(creds) != 1 || !json_array_size(json_object_get(identity, "ssh")))
        (void)check_fail(c, r, FINDING_INVALID, "it makes no person with a certificate and an SSH key");
    else
        (void)issued_check(c, r, NULL, json_array_get(creds, 0), name);
    made = state_add_identity(&c->state, identity);
    if (made) {
        made->founder = true;
        credentials_take(c, r, made);
    } else {
        (void)check_fail(c, r, FINDING_INVALID, "there is an identity of that name already");
    }
    if (!*policy)
        return;
    decision_policy_blob(c, r, policy);
    memcpy(c->state.policy, policy, strlen(policy) + 1);
}
