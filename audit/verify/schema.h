/* The verifier's own table of events and members of format version 1 (docs/log-format.md). */
#ifndef KMS_VERIFY_SCHEMA_H
#define KMS_VERIFY_SCHEMA_H

#include "base/json.h"

/* X(name): every event that a record of version 1 may have. */
#define EVENTS(X) \
    X(LOG_GENESIS, "log.genesis") X(LOG_RECOVERED, "log.recovered") X(LOG_SNAPSHOT, "log.snapshot") \
    X(DAEMON_START, "daemon.start") X(DAEMON_STOP, "daemon.stop") X(DAEMON_CHILD, "daemon.child") \
    X(ANCHOR_RESET, "anchor.reset") X(ADMIN_RECOVER, "admin.recover") X(CA_RENEW, "ca.renew") \
    X(SERVER_RENEW, "server.renew") X(TOKEN_RECONCILE, "token.reconcile") \
    X(KEY_SUSPEND, "key.suspend") X(KEY_RESUME, "key.resume") X(KEY_RETIRE, "key.retire") X(KEY_COMPROMISE, "key.compromise") \
    X(KEY_DESTROY, "key.destroy") X(KEY_RESTORE, "key.restore") X(KEY_ERASE, "key.erase") \
    X(KEY_CREATE, "key.create") X(SIGN_RELEASE, "sign.release") X(SIGN_DIGEST, "sign.digest") X(POLICY_APPLY, "policy.apply") \
    X(IDENTITY_CREATE, "identity.create") X(IDENTITY_RENEW, "identity.renew") X(IDENTITY_DISABLE, "identity.disable") X(IDENTITY_ENABLE, "identity.enable") \
    X(RELEASE_WITHDRAW, "release.withdraw") X(TIME_STEP, "time.step") X(TIME_CONFIRM, "time.confirm") X(NONCE_CREATE, "nonce.create") X(READ_API, "read.api") \
    X(AUTH_REFUSED, "auth.refused") X(REFUSAL_SUMMARY, "refusal.summary")
enum event {
#define X(code, name) EVENT_##code,
    EVENTS(X)
#undef X
    EVENT_COUNT
};
enum outcome { OUTCOME_OK, OUTCOME_DENIED, OUTCOME_ERROR, OUTCOME_INTENT, OUTCOME_COUNT };

const char *event_name(enum event ev);

/* Checks every member of a record by the table; event and outcome are written on success. ERR_UNKNOWN_MEMBER or ERR_BAD_REQUEST names the member. */
int schema_check(const json_t *record, enum event *ev, enum outcome *outcome, struct err *e) __attribute__((warn_unused_result));

#endif
