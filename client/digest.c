/* Hashes a file piece by piece. */
#include "client/digest.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/enc.h"
#include "base/num.h"

#define CHUNK (1u << 20)
#define PROGRESS_FROM (INT64_C(256) << 20)
#define THREADS_MAX 8

struct progress {
    int64_t total;   /* 0 = do not show */
    int shown;       /* per cent */
};

static void progress_show(struct progress *p, int64_t done)
{
    int percent = p->total ? (int)(done / (p->total / 100 + 1)) : 0;

    if (!p->total || percent == p->shown)
        return;
    p->shown = percent;
    fprintf(stderr, "\rhashing %d %%", percent);
}

static int hash_descriptor(int fd, const char *path, EVP_MD_CTX *ctx, uint8_t *chunk, struct progress *p, int64_t *size, struct err *e)
{
    int64_t done = 0;

    for (;;) {
        ssize_t n = read(fd, chunk, CHUNK);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(e, ERR_BAD_REQUEST, errno, "%s", path);
        if (n == 0)
            break;
        if (EVP_DigestUpdate(ctx, chunk, (size_t)n) != 1)
            return err_set(e, ERR_INTERNAL, "hashing failed");
        done += n;
        if (done > JSON_INT_MAX)
            return err_set(e, ERR_TOO_LARGE, "%s is too long", path);
        progress_show(p, done);
    }
    *size = done;
    return 0;
}

static int open_file(const char *path, int64_t *total, struct err *e)
{
    struct stat st;
    int fd = strcmp(path, "-") == 0 ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

    if (fd < 0 || fstat(fd, &st)) {
        err_errno(e, ERR_BAD_REQUEST, errno, "%s", path);
        if (fd >= 0)
            close(fd);
        return -1;
    }
    if (S_ISDIR(st.st_mode)) {
        close(fd);
        return err_set(e, ERR_BAD_REQUEST, "%s is a directory", path);
    }
    if (isatty(STDERR_FILENO) && st.st_size > PROGRESS_FROM)
        *total = st.st_size;
    return fd;
}

int digest_descriptor(int fd, const char *name, int64_t total, const char *hash, char hex[static SCHEME_DIGEST_HEX], int64_t *size, struct err *e)
{
    const EVP_MD *md = strcmp(hash, "sha384") ? EVP_sha256() : EVP_sha384();
    struct progress p = {.total = total};
    uint8_t raw[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    uint8_t *chunk = malloc(CHUNK);
    int failed;

    if (!ctx || !chunk || EVP_DigestInit_ex(ctx, md, NULL) != 1)
        failed = err_set(e, ERR_INTERNAL, "out of memory");
    else
        failed = hash_descriptor(fd, name, ctx, chunk, &p, size, e);
    if (p.total)
        fputs("\r\033[K", stderr);
    if (!failed && EVP_DigestFinal_ex(ctx, raw, NULL) != 1)
        failed = err_set(e, ERR_INTERNAL, "hashing failed");
    if (!failed)
        hex_encode(raw, (size_t)EVP_MD_get_size(md), hex);
    free(chunk);
    EVP_MD_CTX_free(ctx);
    return failed;
}

int digest_file(const char *path, const char *hash, char hex[static SCHEME_DIGEST_HEX], int64_t *size, struct err *e)
{
    int64_t total = 0;
    int fd = open_file(path, &total, e), failed;

    if (fd < 0)
        return -1;
    failed = digest_descriptor(fd, path, total, hash, hex, size, e);
    close(fd);
    return failed;
}

struct pool {
    struct digest_job *job;
    size_t n;
    atomic_size_t next;
};

static void *work(void *arg)
{
    struct pool *p = arg;

    for (size_t i; (i = atomic_fetch_add(&p->next, 1)) < p->n;) {
        struct digest_job *j = &p->job[i];
        int64_t no_progress = 0;
        int fd = open_file(j->path, &no_progress, &j->why);

        j->failed = fd < 0 ? -1 : digest_descriptor(fd, j->path, 0, j->hash, j->digest, &j->size, &j->why);
        if (fd >= 0)
            close(fd);
    }
    return NULL;
}

/* This thread works too, and does it all where no other starts. */
void digest_many(struct digest_job *job, size_t n)
{
    struct pool p = {.job = job, .n = n};
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    pthread_t thread[THREADS_MAX];
    size_t more = 0, most = cpus < 1 ? 0 : cpus > THREADS_MAX ? THREADS_MAX - 1 : (size_t)cpus - 1;

    while (more < most && more + 1 < n && !pthread_create(&thread[more], NULL, work, &p))
        more++;
    work(&p);
    while (more > 0)
        pthread_join(thread[--more], NULL);
}
