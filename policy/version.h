/* Versions in the order of Semantic Versioning 2.0.0; numeric identifiers of any length. */
#ifndef KMS_POLICY_VERSION_H
#define KMS_POLICY_VERSION_H

#include "base/err.h"

#define VERSION_MAX 128 /* bytes, without NUL */

/* Is it a SemVer 2.0 version of at most VERSION_MAX bytes? ERR_BAD_VERSION says where it is wrong. */
int version_check(const char *text, struct err *e) __attribute__((warn_unused_result));
/* Precedence of two checked versions: <0, 0, >0. Build metadata does not count. */
int version_compare(const char *a, const char *b);

#endif
