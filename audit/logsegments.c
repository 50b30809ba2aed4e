/* Names and lists the segments of a log. */
#include "audit/logsegments.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define DIGITS 20

bool logdir_is_segment(const char *name)
{
    return strlen(name) == SEGMENT_NAME && strspn(name, "0123456789") == DIGITS && !strcmp(name + DIGITS, ".jsonl");
}

void segment_name(uint64_t first_seq, char out[static SEGMENT_NAME + 1])
{
    (void)snprintf(out, SEGMENT_NAME + 1, "%020llu.jsonl", (unsigned long long)first_seq);
}

uint64_t segment_first(const char *name)
{
    uint64_t seq = 0;

    for (int n = 0; n < DIGITS; n++)
        seq = seq * 10 + (uint64_t)(name[n] - '0');
    return seq;
}

static int only_segments(const struct dirent *d)
{
    return logdir_is_segment(d->d_name);
}

int segments_list(const char *dir, struct log_segments *out, struct err *e)
{
    *out = (struct log_segments){0};
    out->n = scandir(dir, &out->entry, only_segments, alphasort);
    return out->n < 0 ? err_errno(e, ERR_LOG_UNAVAILABLE, errno, "the log directory %s", dir) : 0;
}

void segments_free(struct log_segments *s)
{
    for (int n = 0; n < s->n; n++)
        free(s->entry[n]);
    free(s->entry);
    *s = (struct log_segments){0};
}

uint64_t segments_bytes(const char *dir)
{
    DIR *d = opendir(dir);
    uint64_t sum = 0;
    struct stat st;

    for (const struct dirent *f; d && (f = readdir(d));)
        if (logdir_is_segment(f->d_name) && !fstatat(dirfd(d), f->d_name, &st, AT_SYMLINK_NOFOLLOW))
            sum += (uint64_t)st.st_size;
    if (d)
        (void)closedir(d);
    return sum;
}
