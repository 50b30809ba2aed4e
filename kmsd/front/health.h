/* kmsd-front --door health: a process of its own, so that whatever happens at the other doors does not reach it. */
#ifndef KMS_FRONT_HEALTH_H
#define KMS_FRONT_HEALTH_H

#include <microhttpd.h>

#include "base/stream.h"
#include "kmsd/sandbox/sandbox.h"
#include "kmsd/settings.h"

/* Serves on descriptor 4 until the core closes descriptor 3. The exit code of the process.
 * GET /healthz: 200 while this process and its core live. GET /readyz: 200 or 503 with the core's state, {"ready","reasons",...}. */
int health_serve(const struct settings *s);

#endif
