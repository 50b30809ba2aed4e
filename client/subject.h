/* Does a certificate or signing request name somebody? */
#ifndef KMS_CLIENT_SUBJECT_H
#define KMS_CLIENT_SUBJECT_H

#include "base/buf.h"

/* True when the subject of this DER certificate (or PKCS#10 request) has any attribute. */
bool subject_is_named(struct span der, bool is_csr);

#endif
