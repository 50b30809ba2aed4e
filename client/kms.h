/* The client library: a connection to kmsd, signing a release, verifying an envelope offline. One struct kms serves one thread at a time. */
#ifndef KMS_CLIENT_KMS_H
#define KMS_CLIENT_KMS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"
#include "client/release.h"

#define KMS_ANSWER_MAX (8u << 20)   /* longest answer that is read */
#define KMS_TIMEOUT_DEFAULT 60u     /* seconds, all attempts together */
#define KMS_RETRIES_DEFAULT 5u
#define KMS_TIMEOUT_MAX 3600u
#define KMS_RETRIES_MAX 100u
#define KMS_HEADER_MAX 256

/* How a call ended; also the exit codes of kmsctl. */
enum kms_status {
    KMS_DONE = 0,
    KMS_REFUSED = 1,      /* the service said no, or something is invalid */
    KMS_USAGE = 2,        /* the caller's options */
    KMS_UNREACHABLE = 3,  /* no service, or 503 until the time was over */
    KMS_PENDING = 4       /* waits for approval */
};

/* Why a call failed. Texts may come from the service: escape them before printing. */
struct kms_error {
    enum kms_status status;
    unsigned http;                    /* HTTP status of the answer, 0 = the failure is local */
    unsigned retry_after;             /* seconds, 0 = none */
    char slug[64];
    char title[256];
    char detail[2048];
    char rule[ERR_RULE_MAX];
    char request_id[KMS_HEADER_MAX];
};
/* Fills e from a local failure; returns -1. */
int kms_fail(struct kms_error *e, enum kms_status status, const struct err *from);
int kms_fail_text(struct kms_error *e, enum kms_status status, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Borrowed texts live as long as the connection. */
struct kms_options {
    const char *addr;                 /* https://HOST:PORT of the ci door; NULL = not used */
    const char *admin_addr;           /* of the administration door; NULL = not used */
    const char *cacert;               /* PEM: the only certificates trusted */
    const char *cert, *key;           /* PEM: client certificate and its private key */
    const char *ssh_key;              /* file for ssh-keygen -f (private key, or .pub with an agent); NULL = cannot sign changes */
    unsigned timeout, retries;        /* seconds for a call with all its attempts; repetitions */
    void (*notice)(void *ctx, const char *text); /* told about repetitions; may be NULL */
    void *notice_ctx;
};
struct kms;
#define KMS_AUTO __attribute__((cleanup(kms_close))) struct kms
/* Checks the options and prepares; connects at the first call. NULL with e filled otherwise. Free with kms_close. */
struct kms *kms_open(const struct kms_options *o, struct kms_error *e);
void kms_close(struct kms **k);

enum kms_door {
    KMS_DOOR_CI,
    KMS_DOOR_ADMIN,
    KMS_DOOR_ANY          /* the ci door when its address is known, else the other */
};
struct kms_request {
    const char *method;           /* "GET", "POST", "PUT" */
    const char *target;           /* path with query, exactly as sent */
    enum kms_door door;
    const char *content_type;     /* of the body; NULL = application/json */
    struct span body;
    bool ssh_signed;              /* fetch a nonce, send Kms-Signature */
    bool plain;                   /* GET only: the answer need not be JSON */
    const char *idempotency_key;  /* NULL = a random one for whatever is not a GET */
};
struct kms_answer {
    unsigned http;                /* 200 to 299 */
    char request_id[KMS_HEADER_MAX], location[KMS_HEADER_MAX];
    struct buf body;
    json_t *json;                 /* the body as an object; NULL for plain answers */
};
#define KMS_ANSWER_AUTO __attribute__((cleanup(kms_answer_free))) struct kms_answer
void kms_answer_free(struct kms_answer *a);
/* For an answer 202: fills e (KMS_PENDING, with the id of the request that waits for approval); returns -1. */
int kms_fail_pending(const struct kms_answer *a, struct kms_error *e);
/* One call with its repetitions (503, timeouts and lost connections, all under one Idempotency-Key). */
int kms_call(struct kms *k, const struct kms_request *rq, struct kms_answer *out, struct kms_error *e) __attribute__((warn_unused_result));

struct kms_sign_request {
    const char *key, *app, *channel, *version;
    const char *name;             /* artifact name, NULL = the app */
    const char *sha256;           /* 64 lower-case hexadecimal characters */
    int64_t size;                 /* bytes, -1 = unknown */
    const char *source;           /* what it was built from, as the caller claims; NULL = none */
    bool dry_run;
    const char *idempotency_key;  /* NULL = a random one */
};
struct kms_signature {
    char request_id[KMS_HEADER_MAX];
    bool dry_run;                 /* then nothing but request_id and the next two is set */
    bool signed_before;           /* dry run: this very release has a signature already */
    char rule[ERR_RULE_MAX];      /* dry run: the policy rule that would allow it */
    char key[NAME_MAX_LEN + 1];
    int64_t key_version;
    struct buf envelope;          /* DSSE envelope: compact JSON and a LF */
    struct release release;       /* what the envelope says; compared with the request */
    int64_t seq;                  /* record in the audit log */
    char hash[SHA256_HEX];
};
#define KMS_SIGNATURE_AUTO __attribute__((cleanup(kms_signature_free))) struct kms_signature
void kms_signature_free(struct kms_signature *s);
/* Asks for a signature and refuses an answer that does not bind exactly what was asked for. KMS_PENDING: it waits for approval (e->request_id). */
int kms_sign(struct kms *k, const struct kms_sign_request *rq, struct kms_signature *out, struct kms_error *e) __attribute__((warn_unused_result));

/* What a verifier insists on. NULL = do not compare. */
struct kms_expect {
    struct span spki;             /* public key, DER; never taken from the envelope */
    const char *sha256;           /* of the artifact; NULL only where the caller compares it itself */
    int64_t size;                 /* of the artifact, -1 = do not compare */
    const char *app, *channel, *version, *name;
    bool allow_development;
    int64_t now;                  /* microseconds since 1970, for statements that expire */
};
/* Offline: signature, then a strict reading of the statement, then every expectation. *out is written only when everything holds. */
int kms_verify_envelope(struct span envelope, const struct kms_expect *x, struct release *out, struct err *e) __attribute__((warn_unused_result));

#endif
