/* Fuzzes SSH keys and signatures: no crash, normal forms are stable, and no signature verifies that nobody made. */
#include <stdlib.h>
#include <string.h>

#include "base/sshblob.h"
#include "base/sshsig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void fuzz_line(const uint8_t *data, size_t size)
{
    BUF_AUTO line = BUF_INIT(size + 1);
    char once[SSH_KEY_TEXT_MAX], twice[SSH_KEY_TEXT_MAX], print[64];

    buf_put(&line, data, size);
    if (buf_ok(&line) || ssh_key_normalise(buf_str(&line), once, sizeof once, NULL))
        return;
    require(!ssh_key_normalise(once, twice, sizeof twice, NULL) && !strcmp(once, twice));
    require(!ssh_key_fingerprint(once, print, sizeof print, NULL) && strlen(print) == 50);
}

/* The key is the one inside; nobody signed that other message. */
static void fuzz_blob(struct span blob)
{
    char key[SSH_KEY_TEXT_MAX];
    struct err e = {0};

    if (sshsig_key(blob, key, sizeof key, NULL))
        return;
    require(strchr(key, ' ') && !strchr(strchr(key, ' ') + 1, ' '));
    require(sshsig_verify(blob, "test@kmsd", span_str("another message\n"), key, NULL, &e) && e.code == ERR_SIGNATURE_INVALID);
    (void)!sshsig_verify(blob, "test@kmsd", span_str("the message\n"), key, NULL, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    BUF_AUTO blob = BUF_INIT(2 * SSHSIG_MAX);
    struct ssh_key k;

    fuzz_line(data, size);
    fuzz_blob(span_of(data, size));
    if (!sshsig_dearmor(span_of(data, size), &blob, NULL))
        fuzz_blob(buf_span(&blob));
    if (!ssh_key_parse(span_of(data, size), &k, NULL))
        ssh_key_release(&k);
    return 0;
}
