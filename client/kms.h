/* libkms: a connection to kmsd, signing releases, and checking offline what an envelope vouches for.
 *
 * Functions return 0, or -1 with *e filled. One struct kms serves one thread at a time; several may be open. Nothing is printed, no signal is raised.
 * Pointers must not be NULL unless something else is said; what closes or frees takes NULL. Texts given to a function are copied or used before it returns
 * unless something else is said. Structures are part of the binary interface: one that changes gives the library a new soname. See libkms(3). */
#ifndef KMS_H
#define KMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KMS_TIMEOUT_DEFAULT 60u     /* seconds, all attempts of a call together */
#define KMS_RETRIES_DEFAULT 5u
#define KMS_TIMEOUT_MAX 3600u
#define KMS_RETRIES_MAX 100u

/* Room for texts, with their NUL. */
#define KMS_HEADER_MAX 256          /* request ids */
#define KMS_RULE_TEXT 136           /* names of policy rules */
#define KMS_NAME_TEXT 65            /* keys, channels */
#define KMS_APP_TEXT 129
#define KMS_ARTIFACT_TEXT 256
#define KMS_VERSION_TEXT 129
#define KMS_SHA256_TEXT 65          /* lower-case hexadecimal */
#define KMS_DIGEST_TEXT 97          /* the longest digest, SHA-384 */
#define KMS_BLOCK_MAX 512           /* bytes of the longest signature, RSA-4096 */
#define KMS_TIME_TEXT 28            /* 2026-03-03T08:09:10.123456Z */
#define KMS_ORIGIN_TEXT 129
#define KMS_SOURCE_TEXT 2049

/* The library's version, such as "0.1.0". */
const char *kms_version(void);

/* How a call ended; also the exit codes of kmsctl. */
enum kms_status {
    KMS_DONE = 0,
    KMS_REFUSED = 1,      /* the service said no, or something is invalid */
    KMS_USAGE = 2,        /* the caller's options or arguments */
    KMS_UNREACHABLE = 3,  /* no service, or 503 until the time was over */
    KMS_PENDING = 4       /* waits for approval: request_id names the request */
};

/* Why a call failed. Texts may come from the service: escape control characters before you print them.
 * slug is what a program decides by. From the service: that of its problem, such as "version-not-newer" (docs/openapi.yaml lists them). Otherwise
 * "usage", "unreachable", "pending", "local" (this machine: files, memory), or what is wrong with an input: "signature-invalid", "bad-digest",
 * "forbidden" (expired, or of a development server), "bad-request" (malformed, or for something else than expected). */
struct kms_error {
    enum kms_status status;
    unsigned http;                    /* HTTP status of the answer, 0 = the failure is local */
    unsigned retry_after;             /* seconds, 0 = none */
    char slug[64];
    char title[256];                  /* "" for local failures */
    char detail[2048];
    char rule[KMS_RULE_TEXT];         /* policy rule that decided, "" = none */
    char request_id[KMS_HEADER_MAX];
};

struct kms;
struct kms_options {
    const char *addr;                 /* of the service's ci door, https://HOST:PORT */
    const char *cacert;               /* PEM file: the only certificates trusted */
    const char *cert, *key;           /* PEM files: client certificate and its private key */
    unsigned timeout;                 /* seconds for a call with all its attempts */
    unsigned retries;                 /* repetitions after 503, timeouts and lost connections, all under one Idempotency-Key */
    void (*notice)(void *ctx, const char *text); /* told about repetitions; NULL = nobody */
    void *notice_ctx;
};
#define KMS_OPTIONS_INIT {.timeout = KMS_TIMEOUT_DEFAULT, .retries = KMS_RETRIES_DEFAULT}
/* Checks the options and prepares; connects at the first call. NULL with *e filled otherwise. Free with kms_close. */
struct kms *kms_open(const struct kms_options *o, struct kms_error *e);
/* Closes *k and makes it NULL; does nothing where k or *k is NULL. */
void kms_close(struct kms **k);

/* Digest and length of a file of any size; hash is "sha256" or "sha384". */
int kms_digest_file(const char *path, const char *hash, char digest[KMS_DIGEST_TEXT], int64_t *size, struct kms_error *e);

/* What a release statement says. */
struct kms_release {
    char app[KMS_APP_TEXT], channel[KMS_NAME_TEXT], version[KMS_VERSION_TEXT], name[KMS_ARTIFACT_TEXT];
    char sha256[KMS_SHA256_TEXT];       /* of the artifact */
    int64_t size;                       /* bytes, -1 = not bound */
    char key_name[KMS_NAME_TEXT];
    int64_t key_version;
    char instance[KMS_ORIGIN_TEXT], environment[16], request_id[KMS_ORIGIN_TEXT];
    char issued[KMS_TIME_TEXT], expires[KMS_TIME_TEXT]; /* expires "" = never */
    int64_t log_seq;                    /* last durable record when it was decided */
    char log_hash[KMS_SHA256_TEXT];
    char source[KMS_SOURCE_TEXT];       /* text or canonical JSON, "" = none */
};

/* Start from KMS_SIGN_REQUEST_INIT. */
struct kms_sign_request {
    const char *key, *app, *channel, *version; /* needed, as is digest */
    const char *name;             /* of the artifact; NULL = the app */
    const char *hash;             /* "sha256", which statements bind, or "sha384" for the digests of p384 keys; NULL = sha256 */
    const char *digest;           /* of the artifact, lower-case hexadecimal */
    int64_t size;                 /* bytes, -1 = unknown */
    const char *source;           /* what it was built from, as the caller claims; NULL = none */
    bool dry_run;                 /* ask whether it would be allowed; nothing is signed */
    const char *idempotency_key;  /* 1 to 128 of [A-Za-z0-9._:-]; NULL = a random one */
};
#define KMS_SIGN_REQUEST_INIT {.size = -1}
struct kms_signature {
    char request_id[KMS_HEADER_MAX];
    bool dry_run;                 /* then nothing but request_id and the next two is set */
    bool signed_before;           /* dry run: this very release has a signature already */
    char rule[KMS_RULE_TEXT];     /* dry run: the policy rule that would allow it */
    char key[KMS_NAME_TEXT];
    int64_t key_version;
    char scheme[16];              /* of the key: "statement", or "digest" or "digest-pkcs1" */
    char *envelope;               /* statement: DSSE envelope, one line of JSON with its LF, NUL behind it; else NULL */
    size_t envelope_len;          /* without the NUL */
    struct kms_release release;   /* statement: what the envelope says; compared with the request */
    unsigned char block[KMS_BLOCK_MAX]; /* the other schemes: the signature over the digest; ECDSA in DER */
    size_t block_len;
    unsigned char raw[KMS_BLOCK_MAX];   /* ECDSA over a digest: r and s, each as long as the order of the curve; else raw_len is 0 */
    size_t raw_len;
    int64_t seq;                  /* its record in the audit log */
    char hash[KMS_SHA256_TEXT];
};
/* Asks for a signature and refuses an answer that does not bind exactly what was asked for. It does not check the signature: kms_verify does,
 * with a key from a source you trust. Free *out with kms_signature_free. */
int kms_sign(struct kms *k, const struct kms_sign_request *rq, struct kms_signature *out, struct kms_error *e);
void kms_signature_free(struct kms_signature *s);

/* What became of one of many: signed (error.status is KMS_DONE), or why it was not. */
struct kms_sign_result {
    struct kms_error error;
    struct kms_signature signature;
};
/* As kms_sign for n requests, in as few exchanges as possible (1,000 requests or 1 MiB each). One that fails does not keep the others from being signed;
 * what the service refused with 503 (it cannot now, a later try may do) is asked for again, without the rest. idempotency_key: of the whole, 1 to 96
 * characters, NULL = a random one; that of a request does not count. Fills out[0..n-1]; free each with kms_sign_results_free. -1 when any failed, *e then
 * says how the first did; KMS_UNREACHABLE only if all that failed may still be signed. */
int kms_sign_many(struct kms *k, const struct kms_sign_request *rq, size_t n, const char *idempotency_key, struct kms_sign_result *out, struct kms_error *e);
void kms_sign_results_free(struct kms_sign_result *out, size_t n);

/* What a verifier insists on; start from KMS_EXPECT_INIT. NULL = do not compare. */
struct kms_expect {
    const char *sha256;           /* of the artifact; needed */
    int64_t size;                 /* of the artifact, -1 = do not compare */
    const char *app, *channel, *version, *name;
    bool allow_development;       /* accept statements of a development server */
    int64_t now;                  /* microseconds since 1970, for statements that expire; 0 = this machine's clock */
};
#define KMS_EXPECT_INIT {.size = -1}
/* Offline: the signature, then a strict reading of the statement, then every expectation. public_key: PEM (PUBLIC KEY) or its DER, never from the
 * envelope. *out is written only when everything holds. */
int kms_verify(const void *envelope, size_t envelope_len, const void *public_key, size_t public_key_len, const struct kms_expect *x,
               struct kms_release *out, struct kms_error *e);

#ifdef __cplusplus
}
#endif
#endif
