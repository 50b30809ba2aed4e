/* Fuzzes certificates, requests, public keys and PEM: no crash, what is accepted fits its limits and its forms agree. */
#include <stdlib.h>
#include <string.h>

#include "base/sshsig.h"
#include "base/x509.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

/* A key that has one of the forms verifies nothing that is no signature. */
static void check_key(struct span spki)
{
    BUF_AUTO jwk = BUF_INIT(8192), ssh = BUF_INIT(8192);
    char line[SSH_KEY_TEXT_MAX];
    int has_jwk = !spki_to_jwk(spki, &jwk, NULL), has_ssh = !spki_to_ssh(spki, &ssh, NULL);

    require(spki_verify(spki, span_str("message"), span_str("signature"), NULL) == -1);
    require(!has_ssh || has_jwk);
    if (has_ssh && ssh.len < sizeof line) {
        ssh.data[--ssh.len] = '\0';
        require(!ssh_key_normalise(buf_str(&ssh), line, sizeof line, NULL));
    }
}

static void check_cert(struct span der)
{
    BUF_AUTO spki = BUF_INIT(1 << 16);
    struct cert_facts f;
    uint8_t hash[SHA256_LEN];

    if (cert_facts(der, &f, NULL))
        return;
    require(f.n_uri <= X509_SAN_MAX && f.n_dns <= X509_SAN_MAX && !cert_spki(der, &spki, NULL));
    sha256(spki.data, spki.len, hash);
    require(!memcmp(hash, f.spki_sha256, sizeof hash));
    for (unsigned n = 0; n < f.n_uri; n++)
        require(f.uri[n][0] && strlen(f.uri[n]) < X509_SAN_TEXT);
    (void)!cert_signed_by(der, buf_span(&spki), NULL);
    check_key(buf_span(&spki));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const labels[] = {"CERTIFICATE", "CERTIFICATE REQUEST", "PUBLIC KEY"};
    BUF_AUTO spki = BUF_INIT(1 << 16), der = BUF_INIT(1 << 16);

    check_cert(span_of(data, size));
    check_key(span_of(data, size));
    if (!csr_check(span_of(data, size), &spki, NULL))
        check_key(buf_span(&spki));
    for (size_t n = 0; n < 3; n++) {
        BUF_AUTO pem = BUF_INIT(1 << 17), again = BUF_INIT(1 << 16);

        buf_clear(&der);
        if (pem_to_der(span_of(data, size), labels[n], &der, NULL))
            continue;
        der_to_pem(&pem, labels[n], buf_span(&der));
        require(!buf_ok(&pem) && !pem_to_der(buf_span(&pem), labels[n], &again, NULL) && span_eq(buf_span(&der), buf_span(&again)));
        check_cert(buf_span(&der));
    }
    return 0;
}
