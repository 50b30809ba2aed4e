/* verify: what OpenSSL alone takes to verify signatures. Some processes share the signatures of a file, with one P-256 key that is read once. */
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fsutil.h"
#include "base/num.h"

#define FILE_MAX (1u << 30)
#define PROCESSES_MAX 64

/* Lengths stand before what they count, 4 bytes, big-endian. NULL data: nothing is left. */
static struct span take(struct span *file)
{
    uint32_t len = 0;
    struct span got;

    if (file->len < 4)
        return span_of(NULL, 0);
    for (size_t n = 0; n < 4; n++)
        len = len << 8 | file->data[n];
    if (len > file->len - 4)
        return span_of(NULL, 0);
    got = span_of(file->data + 4, len);
    *file = span_of(file->data + 4 + len, file->len - 4 - len);
    return got;
}

/* Every `of`th signature from the one with that number on. How many did not verify. */
static int work(struct span file, uint64_t number, uint64_t of)
{
    struct span spki = take(&file), message;
    const unsigned char *at = spki.data;
    EVP_PKEY *key = d2i_PUBKEY(NULL, &at, (long)spki.len);
    EVP_PKEY_CTX *ctx = key ? EVP_PKEY_CTX_new(key, NULL) : NULL;
    EVP_MD *md = EVP_MD_fetch(NULL, "sha256", NULL);
    int bad = !ctx || EVP_PKEY_verify_init(ctx) != 1 || EVP_PKEY_CTX_set_signature_md(ctx, md) != 1;

    for (uint64_t n = 0; !bad && (message = take(&file)).data; n++) {
        struct span signature = take(&file);
        uint8_t digest[32];

        if (n % of == number)
            bad += EVP_Digest(message.data, message.len, digest, NULL, md, NULL) != 1 ||
                   EVP_PKEY_verify(ctx, signature.data, signature.len, digest, sizeof digest) != 1;
    }
    EVP_MD_free(md);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(key);
    return bad;
}

int main(int argc, char **argv)
{
    BUF_AUTO file = BUF_INIT(FILE_MAX);
    uint64_t processes, n;
    int status, failed = 0;

    if (argc != 3 || num_parse_u64(argv[2], strlen(argv[2]), 1, PROCESSES_MAX, &processes) || file_read(argv[1], &file, NULL)) {
        fputs("usage: verify FILE PROCESSES\nFILE: the public key (SPKI), then each message and its signature\n", stderr);
        return 64;
    }
    for (n = 0; n < processes; n++) {
        pid_t child = fork();

        if (!child)
            _exit(work(buf_span(&file), n, processes) != 0);
        failed |= child < 0;
    }
    while (wait(&status) > 0 || errno == EINTR)
        failed |= status != 0;
    return failed;
}
