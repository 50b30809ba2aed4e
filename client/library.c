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

int kms_digest_file(const char *path, char sha256[KMS_SHA256_TEXT], int64_t *size, struct kms_error *e)
{
    struct err why = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY), failed;

    if (fd < 0)
        return kms_fail_text(e, KMS_REFUSED, "%s: %s", path, strerror(errno));
    failed = digest_descriptor(fd, path, 0, sha256, size, &why);
    close(fd);
    if (!failed)
        return 0;
    kms_fail(e, KMS_REFUSED, &why);
    memcpy(e->slug, "local", sizeof("local"));
    return -1;
}
