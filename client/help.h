/* Help texts and suggestions, made from the tables. */
#ifndef KMS_CLIENT_HELP_H
#define KMS_CLIENT_HELP_H

#include <stdio.h>

#include "client/command.h"

/* All commands; with a noun, those of the noun. */
void help_overview(FILE *to, const char *noun);
void help_command(FILE *to, const struct command *cmd);
/* The command nearest to what was typed ("kye list"), NULL when nothing is near. */
const struct command *help_nearest(const char *noun, const char *verb);
/* Every command and option, one "noun[ verb]: --a --b" a line, for the shell completion. */
void help_complete(FILE *to);

#endif
