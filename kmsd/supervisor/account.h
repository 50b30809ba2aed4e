/* The accounts that the processes of an instance run as. */
#ifndef KMS_SUPERVISOR_ACCOUNT_H
#define KMS_SUPERVISOR_ACCOUNT_H

#include <sys/types.h>

#include "base/frame.h"
#include "kmsd/settings.h"

struct account {
    bool set;     /* false: as the supervisor */
    uid_t uid;
    gid_t gid;
};

/* The account of the settings for processes of that role. -1: no such account, or the caller is not root. */
int account_of(const struct settings *s, enum child_role role, struct account *out, struct err *e) __attribute__((warn_unused_result));
/* Becomes it, for good: no other groups, no way back. */
int account_become(const struct account *a) __attribute__((warn_unused_result));
/* For root, around work on files that must be the account's own: as it from account_enter to account_leave. Nothing happens where it is not set. */
int account_enter(const struct account *a, struct err *e) __attribute__((warn_unused_result));
void account_leave(const struct account *a);

#endif
