/* Command lines by the tables of options and commands. */
#ifndef KMS_CLIENT_ARGS_H
#define KMS_CLIENT_ARGS_H

#include "client/command.h"

/* Common options before the command's words; *used is the index of the first word. c->command stays NULL. */
int args_common(struct context *c, int argc, char **argv, int *used) __attribute__((warn_unused_result));
/* Options and positional arguments of c->command; argv[0] is its last word. */
int args_command(struct context *c, int argc, char **argv) __attribute__((warn_unused_result));
/* Does the command take that option? Commands with a --cert of their own do not take the short form of --client-cert. */
bool args_takes(const struct command *cmd, enum opt_code o);

#endif
