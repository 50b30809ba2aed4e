/* What one signature needs at least when nothing is shared: C_Sign, the check, and the sync of a record, each measured by itself. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fsutil.h"
#include "tests/bench/raw/raw.h"

#define RECORD_BYTES 1400
#define SAMPLES_MAX 100000
#define RESERVE (16l << 20)

enum { STAGE_SIGN, STAGE_VERIFY, STAGE_SYNC, STAGES };

static int by_size(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

static int64_t median(int64_t *list, size_t n)
{
    qsort(list, n, sizeof *list, by_size);
    return n ? list[n / 2] : 0;
}

/* A file that is written as the log is: appended to, inside room that was allocated before. */
static int scratch_file(const char *dir, struct err *e)
{
    char path[PATH_MAX];
    int fd;

    if (path_join(path, sizeof path, dir, "stages.tmp"))
        return err_set(e, ERR_BAD_REQUEST, "the path %s is too long", dir);
    fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || unlink(path))
        return err_errno(e, ERR_INTERNAL, errno, "%s", path);
    if (fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, RESERVE) && errno != EOPNOTSUPP)
        return err_errno(e, ERR_INTERNAL, errno, "%s", path);
    return fd;
}

static int one_round(struct raw_key *k, int fd, uint64_t n, int64_t us[static STAGES])
{
    static uint8_t record[RECORD_BYTES];
    uint8_t digest[32] = {0};
    struct raw_signature s;
    int64_t t[STAGES + 1];

    memcpy(digest, &n, sizeof n);
    memset(record, 'r', sizeof record);
    t[0] = now_us();
    if (raw_sign(k, digest, &s))
        return -1;
    t[1] = now_us();
    if (raw_verify(k, digest, &s))
        return -1;
    t[2] = now_us();
    if (write(fd, record, sizeof record) != sizeof record || fdatasync(fd))
        return -1;
    t[3] = now_us();
    for (unsigned i = 0; i < STAGES; i++)
        us[i] = t[i + 1] - t[i];
    return 0;
}

int stages(const struct raw_options *o, struct err *e)
{
    int64_t *list[STAGES], us[STAGES], end;
    struct raw_key k = {0};
    int fd = scratch_file(o->dir, e);
    size_t n = 0;

    for (unsigned i = 0; i < STAGES; i++)
        if (!(list[i] = calloc(SAMPLES_MAX, sizeof **list)))
            return err_set(e, ERR_INTERNAL, "out of memory");
    if (fd < 0 || raw_open(o, &k, e))
        return -1;
    for (end = now_us() + (int64_t)o->ms * 1000; now_us() < end && n < SAMPLES_MAX; n++) {
        if (one_round(&k, fd, n, us))
            return err_set(e, ERR_INTERNAL, "a signature or its record failed");
        for (unsigned i = 0; i < STAGES; i++)
            list[i][n] = us[i];
    }
    printf("{\"rounds\":%zu,\"sign_us\":%lld,\"verify_us\":%lld,\"fdatasync_us\":%lld}\n", n, (long long)median(list[STAGE_SIGN], n),
           (long long)median(list[STAGE_VERIFY], n), (long long)median(list[STAGE_SYNC], n));
    for (unsigned i = 0; i < STAGES; i++)
        free(list[i]);
    close(fd);
    raw_close(&k);
    return 0;
}
