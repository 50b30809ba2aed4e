/* Where kmsctl's settings come from: the option, else the environment. */
#ifndef KMS_CLIENT_CONFIG_H
#define KMS_CLIENT_CONFIG_H

#include "client/command.h"

/* The option's argument, else its environment variable when that is not empty, else NULL. */
const char *config_text(const struct context *c, enum opt_code o);
/* As config_text, but absence is a usage error that says how to give it. */
int config_need(struct context *c, enum opt_code o, const char **out) __attribute__((warn_unused_result));
/* A number within min..max; dflt when absent. */
int config_number(struct context *c, enum opt_code o, uint64_t min, uint64_t max, uint64_t dflt, uint64_t *out) __attribute__((warn_unused_result));
/* --output, else by whether standard output is a terminal. */
int config_output(struct context *c) __attribute__((warn_unused_result));
/* Fills c->kms. */
int config_connect(struct context *c) __attribute__((warn_unused_result));

#endif
