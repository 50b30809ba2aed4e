/* What the library offers beside the calls: its version, the digest of a file. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "client/call.h"
#include "client/digest.h"

const char *kms_version(void)
{
    return KMSD_VERSION;
}

int kms_digest_file(const char *path, const char *hash, char digest[KMS_DIGEST_TEXT], int64_t *size, struct kms_error *e)
{
    struct err why = {0};
    int fd, failed;

    if (strcmp(hash, "sha256") && strcmp(hash, "sha384"))
        return kms_fail_text(e, KMS_USAGE, "the hash is sha256 or sha384, not %.16s", hash);
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return kms_fail_text(e, KMS_REFUSED, "%s: %s", path, strerror(errno));
    failed = digest_descriptor(fd, path, 0, hash, digest, size, &why);
    close(fd);
    if (!failed)
        return 0;
    kms_fail(e, KMS_REFUSED, &why);
    memcpy(e->slug, "local", sizeof("local"));
    return -1;
}
