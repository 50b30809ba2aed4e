/* SSH signatures (OpenSSH PROTOCOL.sshsig) and public keys: parsing and verification over OpenSSL; Ed25519, ECDSA P-256/384/521, RSA >= 2048 (rsa-sha2-256/512), and their sk- forms for Ed25519 and ECDSA P-256. */
#ifndef KMS_BASE_SSHSIG_H
#define KMS_BASE_SSHSIG_H

#include "base/buf.h"
#include "base/err.h"

#define SSH_KEY_TEXT_MAX 2048
#define SSHSIG_MAX 4096

/* "type base64[ comment]" -> "type base64" (the comment is dropped, the blob checked). Refuses ssh-dss, RSA < 2048, options, several lines. */
int ssh_key_normalise(const char *line, char *out, size_t size, struct err *e) __attribute__((warn_unused_result));
/* "SHA256:<base64 without padding>" as ssh-keygen -l prints it. */
int ssh_key_fingerprint(const char *key, char *out, size_t size, struct err *e) __attribute__((warn_unused_result));
/* Verifies the binary SSHSIG blob over message under namespace with the bare public key `key` ("type base64"); the key inside the blob must be the same one. ERR_SIGNATURE_INVALID otherwise.
 * sk- keys: user presence (touch) flag required. flags_out (may be NULL): the sk flags byte, 0 for other keys. */
int sshsig_verify(struct span blob, const char *ns, struct span message, const char *key, uint8_t *flags_out, struct err *e) __attribute__((warn_unused_result));
/* The public key inside a blob as "type base64". */
int sshsig_key(struct span blob, char *out, size_t size, struct err *e) __attribute__((warn_unused_result));
/* Armoured text (-----BEGIN SSH SIGNATURE-----) -> binary. */
int sshsig_dearmor(struct span text, struct buf *blob, struct err *e) __attribute__((warn_unused_result));

#endif
