/* Keeps SoftHSM's token files from being lost in a login that is cut short. */
#include "kmsd/token/softhsmkeep.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fsutil.h"
#include "base/log.h"

#define TOKEN_FILE "token.object"
#define TOKEN_FILE_MAX 65536
#define UUID_LEN 36

/* SoftHSM 2's object file: u64 generation, then attributes: u64 type, u64 kind, value. Numbers are big-endian. */
enum { KIND_BOOL = 1, KIND_NUMBER = 2, KIND_BYTES = 3 };

static uint64_t take_u64(struct span *rest)
{
    uint64_t n = 0;

    for (size_t k = 0; k < 8; k++)
        n = n << 8 | rest->data[k];
    *rest = span_of(rest->data + 8, rest->len - 8);
    return n;
}

static bool take_value(struct span *rest, uint64_t kind)
{
    uint64_t n = kind == KIND_BOOL ? 1 : 8;

    if (kind != KIND_BOOL && kind != KIND_NUMBER && kind != KIND_BYTES)
        return false;
    if (kind == KIND_BYTES) {
        if (rest->len < 8)
            return false;
        n = take_u64(rest);
    }
    if (rest->len < n)
        return false;
    *rest = span_of(rest->data + n, rest->len - (size_t)n);
    return true;
}

/* Whole to its last byte, with at least one attribute. */
static bool sound(struct span file)
{
    unsigned attributes = 0;

    if (file.len < 8)
        return false;
    for ((void)take_u64(&file); file.len >= 16; attributes++) {
        uint64_t kind;

        (void)take_u64(&file);
        kind = take_u64(&file);
        if (!take_value(&file, kind))
            return false;
    }
    return !file.len && attributes;
}

static int keep_dir(const struct token_settings *s, char *out, size_t size)
{
    char parent[PATH_MAX];
    char *slash;

    memcpy(parent, s->sync, sizeof parent);
    slash = strrchr(parent, '/');
    if (!slash || slash == parent)
        return -1;
    *slash = '\0';
    return path_join(out, size, parent, "keep");
}

static void keep_one(const char *file, const char *copy)
{
    BUF_AUTO now = BUF_INIT(TOKEN_FILE_MAX), kept = BUF_INIT(TOKEN_FILE_MAX);
    struct err e = {0};
    bool have = !file_read(file, &now, &e), had = !file_read(copy, &kept, &e) && sound(buf_span(&kept));

    if (have && sound(buf_span(&now))) {
        if ((!had || !span_eq(buf_span(&now), buf_span(&kept))) && file_write_atomic(copy, now.data, now.len, 0600, &e))
            log_line(LOG_LEVEL_WARNING, "token-copy", "text=\"%s\"", e.detail);
        return;
    }
    /* Without the file the token is gone and every key of it, for its keys are encrypted with one that only this file holds. */
    if (!had)
        log_line(LOG_LEVEL_ERROR, "token-file", "text=\"%s is damaged and there is no copy of it\"", file);
    else if (file_write_atomic(file, kept.data, kept.len, 0600, &e))
        log_line(LOG_LEVEL_ERROR, "token-file", "text=\"%s is damaged and cannot be put back: %s\"", file, e.detail);
    else
        log_line(LOG_LEVEL_WARNING, "token-file", "text=\"%s was cut short by a login that did not end; put back from its copy\"", file);
}

static void each_token(const struct token_settings *s, void (*each)(const char *file, const char *copy))
{
    char keep[PATH_MAX], token[PATH_MAX], file[PATH_MAX], copy[PATH_MAX];
    DIR *dir = *s->softhsm_conf && *s->sync ? opendir(s->sync) : NULL;
    struct err e = {0};

    if (!dir)
        return;
    if (!keep_dir(s, keep, sizeof keep) && !dir_make(keep, 0700, &e))
        for (const struct dirent *d; (d = readdir(dir));) {
            if (strlen(d->d_name) != UUID_LEN || strspn(d->d_name, "0123456789abcdef-") != UUID_LEN)
                continue;
            if (!path_join(token, sizeof token, s->sync, d->d_name) && !path_join(file, sizeof file, token, TOKEN_FILE) &&
                !path_join(copy, sizeof copy, keep, d->d_name))
                each(file, copy);
        }
    (void)closedir(dir);
    if (e.code)
        log_line(LOG_LEVEL_WARNING, "token-copy", "text=\"%s\"", e.detail);
}

void softhsm_keep(const struct token_settings *s)
{
    each_token(s, keep_one);
}

static void sync_one(const char *file, const char *copy)
{
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

    (void)copy;
    if (fd < 0 || fsync(fd))
        log_line(LOG_LEVEL_WARNING, "token-sync", "file=%s text=\"%s\"", file, strerror(errno));
    if (fd >= 0)
        (void)close(fd);
}

void softhsm_sync(const struct token_settings *s)
{
    each_token(s, sync_one);
}
