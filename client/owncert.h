/* The certificate that kmsctl shows: when it ends, and a word in time. */
#ifndef KMS_CLIENT_OWNCERT_H
#define KMS_CLIENT_OWNCERT_H

#include <stdint.h>

#include "client/command.h"

#define OWNCERT_SOON_DAYS 21

/* When the first certificate of the file ends, microseconds since 1970; -1 = the file holds none that can be read. */
int64_t owncert_end(const char *path);
/* Whole days from now until then, negative when it is over. */
int64_t owncert_days_left(int64_t end);
/* A note on standard error when the certificate of --client-cert is near its end. */
void owncert_warn(const struct context *c);

#endif
