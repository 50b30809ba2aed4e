/* The file that a certificate goes to which the service issues. */
#ifndef KMS_CLIENT_CERTFILE_H
#define KMS_CLIENT_CERTFILE_H

#include "client/command.h"

/* Before anything is asked for: may the file be replaced by a certificate? Not where it holds a private key, or cannot be written. */
int certfile_check(struct context *c, const char *path) __attribute__((warn_unused_result));
/* Writes the member `certificate` of the answer, which must be for the key of the signing request (PEM), and makes it `certificate_file`.
 * One that is not is taken out of the answer; one that cannot be written stays in it. */
int certfile_keep(struct context *c, const char *path, const char *csr, json_t *answer) __attribute__((warn_unused_result));

#endif
