/* The alphabets of names (keys, identities, apps, channels, artifacts) and simple globs over them. */
#ifndef KMS_POLICY_NAMES_H
#define KMS_POLICY_NAMES_H

#include <stdbool.h>

#include "base/err.h"

#define NAME_MAX_LEN 64      /* keys, identities, channels, roles: [a-z0-9][a-z0-9._-]{0,63} */
#define APP_MAX_LEN 128      /* [A-Za-z0-9][A-Za-z0-9._-]{0,127} */
#define ARTIFACT_MAX_LEN 255 /* [A-Za-z0-9][A-Za-z0-9._+-]{0,254} */

/* what = the member or field for the message. ERR_BAD_NAME quotes the alphabet. */
int name_check(const char *text, const char *what, struct err *e) __attribute__((warn_unused_result));
int app_check(const char *text, const char *what, struct err *e) __attribute__((warn_unused_result));
int artifact_check(const char *text, const char *what, struct err *e) __attribute__((warn_unused_result));
/* Glob with '*' = any run of characters (also empty); linear time, no backtracking explosion. */
bool glob_match(const char *pattern, const char *text);
/* A glob pattern over the app alphabet plus '*'. */
int glob_check(const char *pattern, const char *what, struct err *e) __attribute__((warn_unused_result));

#endif
