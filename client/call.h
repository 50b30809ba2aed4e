/* Calls of any kind to kmsd, which kmsctl and the library's functions are made of. */
#ifndef KMS_CLIENT_CALL_H
#define KMS_CLIENT_CALL_H

#include "base/hash.h"
#include "base/json.h"
#include "base/timefmt.h"
#include "client/kms.h"
#include "policy/names.h"
#include "policy/version.h"

#define KMS_ANSWER_MAX (8u << 20)   /* longest answer that is read */

#define KMS_AUTO __attribute__((cleanup(kms_close))) struct kms
#define KMS_SIGNATURE_AUTO __attribute__((cleanup(kms_signature_free))) struct kms_signature

/* Fills e from a local failure; returns -1. */
int kms_fail(struct kms_error *e, enum kms_status status, const struct err *from);
int kms_fail_text(struct kms_error *e, enum kms_status status, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The connection may also speak to the administration door and sign changes. Either may be NULL; ssh_key is a file for ssh-keygen -f (private key, or
 * .pub with an agent), borrowed for as long as the connection lives. */
int kms_administer(struct kms *k, const char *admin_addr, const char *ssh_key, struct kms_error *e) __attribute__((warn_unused_result));

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
    unsigned items;               /* of a batch: each prolongs the time of the call and of an attempt */
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
/* Pauses before the repetition of what failed so, the nth from 0; -1 = no more: too many, or the time is over. */
int kms_pause(struct kms *k, unsigned n, int64_t deadline, const struct kms_error *why) __attribute__((warn_unused_result));
/* When the time for such a call is over, were it to begin now: on the clock of clock_boot_us. */
int64_t kms_deadline(const struct kms *k, unsigned items);

/* sign.c */
json_t *sign_body(const struct kms_sign_request *rq);
/* Says why a request cannot be written down; returns -1. */
int sign_unsendable(const struct kms_sign_request *rq, struct kms_error *e);
/* What an answer 200 says, which must be what was asked for. */
int sign_take(const struct kms_sign_request *rq, const json_t *answer, const char *request_id, struct kms_signature *out, struct kms_error *e)
    __attribute__((warn_unused_result));

#endif
