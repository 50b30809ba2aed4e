/* Files: reading with a limit, writing so that a crash leaves old or new. */
#ifndef KMS_BASE_FSUTIL_H
#define KMS_BASE_FSUTIL_H

#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

/* Whole regular file into out (whose max bounds it: ERR_TOO_LARGE). */
int file_read(const char *path, struct buf *out, struct err *e) __attribute__((warn_unused_result));
/* All of it. -1 = errno says why not. */
int fd_write(int fd, const void *data, size_t len) __attribute__((warn_unused_result));
/* Temporary file beside it, fsync, rename, fsync of the directory. Refused where something other than a file stands (a device, a pipe). */
int file_write_atomic(const char *path, const void *data, size_t len, mode_t mode, struct err *e) __attribute__((warn_unused_result));
/* The same for a file that is there, which keeps its owner and mode. */
int file_replace(const char *path, const void *data, size_t len, struct err *e) __attribute__((warn_unused_result));
int file_exists(const char *path);
/* Does the file hold a private key in PEM (in its first 64 KiB)? Then nothing else takes its place. */
int file_holds_key(const char *path);
/* May a certificate take the place of what is there: nothing, or a regular file without a private key? -1 says why not, and what to do instead. Root, too, has files that
 * are none: /dev/null would be one no more. */
int file_yields(const char *path, const char *instead, struct err *e) __attribute__((warn_unused_result));
/* mkdir unless it is there already (then it must be a directory). */
int dir_make(const char *path, mode_t mode, struct err *e) __attribute__((warn_unused_result));
int dir_sync(const char *path, struct err *e) __attribute__((warn_unused_result));
/* "dir/name" into out; -1 when it does not fit. An absolute name is taken as it is. */
int path_join(char *out, size_t size, const char *dir, const char *name) __attribute__((warn_unused_result));
/* Opens (0600, creates) and flocks exclusively, waiting at most wait_ms; the descriptor, or -1 with ERR_BUSY naming the pid written in the file. Writes our pid into it. */
int lock_file(const char *path, int wait_ms, struct err *e) __attribute__((warn_unused_result));
/* getrandom. */
int random_bytes(void *out, size_t len) __attribute__((warn_unused_result));
/* CLOCK_REALTIME / CLOCK_BOOTTIME in microseconds. */
#include <stdint.h>
int64_t clock_wall_us(void);
int64_t clock_boot_us(void);
/* Both at one moment: what the wall clock shows at that time since the boot. */
void clock_both_us(int64_t *wall, int64_t *boot);

#endif
