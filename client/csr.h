/* Certificate signing requests of kmsctl's own making. */
#ifndef KMS_CLIENT_CSR_H
#define KMS_CLIENT_CSR_H

#include "base/buf.h"
#include "base/err.h"

/* A request (PEM, appended) for the private key in that file (PEM), without a subject: the service knows who asks. */
int csr_make(const char *key_file, struct buf *pem, struct err *e) __attribute__((warn_unused_result));

#endif
