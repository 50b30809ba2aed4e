/* What the commands share that an operator runs beside the service or while it is stopped. */
#ifndef KMS_SUPERVISOR_OFFLINE_H
#define KMS_SUPERVISOR_OFFLINE_H

#include "base/buf.h"
#include "kmsd/settings.h"
#include "kmsd/supervisor/account.h"

/* Says why a command cannot be run as it was typed (NULL = getopt_long has said it), and how it is used. The exit code. */
int offline_usage(char *const argv[], const char *usage, const char *why);
/* Reads --settings FILE or --dir DIR, and nothing else; loads. The exit code of the command, or -1 to go on (then e may be filled). */
int offline_settings(int argc, char **argv, const char *usage, struct settings *s, struct err *e) __attribute__((warn_unused_result));
/* May this be what --reason says? It goes into the log as it is. */
int offline_reason(const char *text, struct err *e) __attribute__((warn_unused_result));
/* No command tries a PIN that was refused. */
int offline_not_sealed(const struct settings *s, struct err *e) __attribute__((warn_unused_result));
/* Whose the log is, for root where the settings name accounts; not set otherwise. */
int offline_account(const struct settings *s, struct account *out, struct err *e) __attribute__((warn_unused_result));
/* Only the owner of the log may, or root where the settings name him: files made by another user would be in the service's way. */
int offline_owner(const struct settings *s, struct err *e) __attribute__((warn_unused_result));
/* Keeps the service from starting for as long as this process lives; refuses while it runs. */
int offline_lock(const struct settings *s, struct err *e) __attribute__((warn_unused_result));
/* Runs kmsd-token --settings … with more words (NULL-terminated) as the account that the tokens belong to; out gets what it prints. */
int offline_token(const struct settings *s, const char *const more[], struct buf *out, struct err *e) __attribute__((warn_unused_result));

#endif
