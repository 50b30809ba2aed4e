/* What the core and the tools need to know of certificates and public keys; pure functions of the bytes and a given time. */
#ifndef KMS_BASE_X509_H
#define KMS_BASE_X509_H

#include "base/buf.h"
#include "base/err.h"
#include "base/scheme.h"
#include "base/hash.h"

#define X509_SAN_MAX 8
#define X509_SAN_TEXT 256

struct cert_facts {
    uint8_t sha256[SHA256_LEN];        /* of the DER */
    uint8_t spki_sha256[SHA256_LEN];
    int64_t not_before, not_after;     /* microseconds since 1970 */
    bool client_auth;                  /* has an EKU extension that contains clientAuth */
    bool is_ca;
    unsigned n_uri, n_dns;
    char uri[X509_SAN_MAX][X509_SAN_TEXT];
    char dns[X509_SAN_MAX][X509_SAN_TEXT];
};
/* Strict DER of one certificate, nothing after it. ERR_BAD_CERTIFICATE. */
int cert_facts(struct span der, struct cert_facts *out, struct err *e) __attribute__((warn_unused_result));
/* Is the certificate signed with the public key of this SPKI (DER)? 0 = yes. */
int cert_signed_by(struct span cert_der, struct span spki_der, struct err *e) __attribute__((warn_unused_result));
/* Does a certificate (csr false) or signing request (csr true) name a subject? Such text may be a person's name. True for what does not parse. */
bool x509_names_subject(struct span der, bool csr);
/* Is this common name, and nothing else, the subject of the certificate? */
bool cert_is_named(struct span der, const char *cn);
/* SPKI (DER) of a certificate, appended. */
int cert_spki(struct span cert_der, struct buf *spki, struct err *e) __attribute__((warn_unused_result));
/* One PEM block of that label ("CERTIFICATE", "CERTIFICATE REQUEST", "PUBLIC KEY") -> DER. Anything but white space around it is refused. */
int pem_to_der(struct span pem, const char *label, struct buf *der, struct err *e) __attribute__((warn_unused_result));
void der_to_pem(struct buf *out, const char *label, struct span der);
/* CSR: self-signature verifies, key is P-256, P-384, Ed25519 or RSA >= 2048. Its SPKI is appended (spki may be NULL). */
int csr_check(struct span csr_der, struct buf *spki, struct err *e) __attribute__((warn_unused_result));
/* Verifies a signature over message with the SPKI: ECDSA = SHA-256 for P-256, SHA-384 for P-384, DER; Ed25519; RSA = PSS, SHA-256, salt = hash length. 0 = good. */
int spki_verify(struct span spki_der, struct span message, struct span sig, struct err *e) __attribute__((warn_unused_result));
/* The same over a digest that the caller computed, by the rules of the key's scheme: ECDSA in DER, RSA-PSS or PKCS#1 v1.5. A digest of another length is refused. 0 = good. */
int spki_verify_digest(struct span spki_der, const struct scheme *scheme, struct span digest, struct span sig, struct err *e) __attribute__((warn_unused_result));
/* Is the public key one of that algorithm ("p256", "rsa-4096")? RSA: exactly so many bits, exponent 65537. */
bool spki_is(struct span spki_der, const char *algorithm);
/* An ECDSA signature in DER as r || s, each as long as the curve's order (IEEE P1363), appended. */
int ecdsa_raw(struct span der, const struct scheme *scheme, struct buf *out, struct err *e) __attribute__((warn_unused_result));
/* JWK (RFC 7517) as canonical JSON, or OpenSSH line without comment. */
int spki_to_jwk(struct span spki_der, struct buf *out, struct err *e) __attribute__((warn_unused_result));
int spki_to_ssh(struct span spki_der, struct buf *out, struct err *e) __attribute__((warn_unused_result));

#endif
