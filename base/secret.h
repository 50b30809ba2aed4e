/* Secrets in locked memory: wiped when they go, compared in constant time, never logged. */
#ifndef KMS_BASE_SECRET_H
#define KMS_BASE_SECRET_H

#include "base/err.h"
#include <stdbool.h>
#include <stdint.h>

#define SECRET_MAX 256

struct secret {
    size_t len;
    uint8_t *data;     /* mlock'ed page of its own, excluded from dumps; NULL when empty; data[len] is 0 */
};
#define SECRET_AUTO __attribute__((cleanup(secret_free))) struct secret
void secret_free(struct secret *s);
/* Reads a file of one line (a last LF is dropped). Refuses a symlink, another owner than us or root, any group or other permission bit, empty, over SECRET_MAX-1. The message says the chmod that cures it. */
int secret_read_file(struct secret *s, const char *path, struct err *e) __attribute__((warn_unused_result));
/* As secret_read_file, of the file of that name (a plain one) in $CREDENTIALS_DIRECTORY, which a service manager fills. It lets the service read by an
 * access list, which shows as a permission of the group: that one bit is accepted here. */
int secret_read_credential(struct secret *s, const char *name, struct err *e) __attribute__((warn_unused_result));
/* n random characters of [A-Za-z0-9] (unbiased). */
int secret_random_text(struct secret *s, size_t n, struct err *e) __attribute__((warn_unused_result));
/* RLIMIT_CORE 0 and PR_SET_DUMPABLE 0; every program calls it first in main. */
void process_harden(void);
/* For root, before it gives its powers away: processes started from now on may lock what memory they like. */
void process_allow_locking(void);
/* Keeps all memory of the process out of the swap space, what it will allocate included: for who must live with a library's copies of a secret. Does nothing
 * and returns false where RLIMIT_MEMLOCK is below LOCKING_MIN: a limit reached later would make allocations fail. */
#define LOCKING_MIN (256u << 20)
bool process_lock_memory(void);
/* Ends this process with SIGKILL when its parent dies; call right after exec. expected_parent: exits at once if getppid() differs (0 = do not check). */
void process_tie_to_parent(int expected_parent);

#endif
