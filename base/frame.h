/* Frames between the processes: u32 length (big-endian, of what follows, <= FRAME_MAX) | u8 type | u64 id | fields (u8 tag | u32 length | bytes)*. One table for both ends. */
#ifndef KMS_BASE_FRAME_H
#define KMS_BASE_FRAME_H

#include "base/buf.h"
#include "base/err.h"

#define FRAME_MAX (8u << 20) /* the answer of a batch of 1,000 has up to 6 MiB */

/* X(name, number): what a field holds. Text fields are UTF-8 without NUL; numbers are u64 big-endian. */
#define FRAME_TAGS(X) \
    X(METHOD, 1)        /* HTTP method */ \
    X(TARGET, 2)        /* request target as sent, query included */ \
    X(SOURCE, 3)        /* peer address, text */ \
    X(CERT, 4)          /* certificate, DER (peer leaf, or issued) */ \
    X(BODY, 5)          /* HTTP body bytes */ \
    X(IDEMPOTENCY, 6)   /* Idempotency-Key header value */ \
    X(KMS_SIGNATURE, 7) /* Kms-Signature header value */ \
    X(CONTENT_TYPE, 8) \
    X(STATUS, 9)        /* u64 HTTP status */ \
    X(LOCATION, 10) \
    X(RETRY_AFTER, 11)  /* u64 seconds */ \
    X(REQUEST_ID, 12) \
    X(COUNT, 13)        /* u64 */ \
    X(REASON, 14)       /* short word or sentence */ \
    X(KEY_ID, 15)       /* CKA_ID, 16 bytes */ \
    X(ALGORITHM, 16)    /* "p256" ... */ \
    X(SCHEME, 17)       /* "statement" ... */ \
    X(LABEL, 18)        /* CKA_LABEL */ \
    X(INPUT, 19)        /* what the scheme signs (statement: PAE bytes) */ \
    X(OUTPUT, 20)       /* signature (DER for ECDSA) */ \
    X(SPKI, 21)         /* SubjectPublicKeyInfo, DER */ \
    X(BIRTH, 22)        /* canonical JSON: attributes read back and probe results */ \
    X(CSR, 23)          /* certificate signing request, DER */ \
    X(PROFILE, 24)      /* canonical JSON: what to issue */ \
    X(TOKEN, 25)        /* canonical JSON: token and module description */ \
    X(CLASS, 26)        /* u64 enum lane_error */ \
    X(ROLE, 27)         /* u64 enum child_role */ \
    X(INDEX, 28)        /* u64: number of a child within its role */ \
    X(PID, 29)          /* u64 */ \
    X(OBJECTS, 30)      /* canonical JSON array */ \
    X(CODE, 31)         /* u64 enum err_code, for problems raised by a front */ \
    X(STATE, 32)        /* canonical JSON: what the service can do now */ \
    X(ANCHOR, 33)       /* the anchor's bytes as they lie on the token */ \
    X(SANDBOX, 34)      /* what confines the process, \"seccomp+landlock7\" */ \
    X(PROOF, 39)        /* canonical JSON: what a destruction removed from the token, and what is left */ \
    X(QUERY, 40)        /* query string of a search, checked by search_parse */ \
    X(SEQ, 41)          /* u64: number of a record */ \
    X(HEAD, 42)         /* u64: so many records, from the first, are on disk (core) or can be searched (reader) */ \
    X(HASH, 43)         /* SHA-256, lower-case hexadecimal */ \
    X(LINK, 44)         /* Link header value */ \
    X(ALLOW, 45)        /* Allow header value */ \
    X(METRICS, 48)      /* counters and gauges in Prometheus' text format */
#define FRAME_TAG_LIMIT 64

/* X(name, number, required tags, optional tags) */
#define T(tag) (UINT64_C(1) << (tag))
#define FRAME_TYPES(X) \
    /* front -> core */ \
    X(REQUEST, 1, T(TAG_METHOD) | T(TAG_TARGET) | T(TAG_SOURCE) | T(TAG_CERT), T(TAG_BODY) | T(TAG_IDEMPOTENCY) | T(TAG_KMS_SIGNATURE) | T(TAG_CONTENT_TYPE)) \
    X(TLS_REFUSED, 2, T(TAG_COUNT) | T(TAG_REASON), 0)          /* TLS failures since the last one, by reason */ \
    X(HTTP_REFUSED, 3, T(TAG_SOURCE) | T(TAG_CODE), T(TAG_CERT) | T(TAG_REASON)) /* the front refused a request by itself */ \
    /* core -> front */ \
    X(REPLY, 4, T(TAG_STATUS) | T(TAG_REQUEST_ID), T(TAG_CONTENT_TYPE) | T(TAG_BODY) | T(TAG_RETRY_AFTER) | T(TAG_LOCATION) | T(TAG_LINK) | T(TAG_ALLOW)) \
    /* any child -> core, once, when it is ready */ \
    X(HELLO, 5, 0, T(TAG_TOKEN) | T(TAG_SANDBOX) | T(TAG_CERT)) /* CERT: the one that a door shows */ \
    /* lane -> core, before its HELLO: it waits for its token, looking every 250 ms */ \
    X(AWAY, 6, T(TAG_REASON), 0) \
    /* core -> health door, whenever it changes */ \
    X(STATE, 7, T(TAG_STATE), 0) \
    /* core -> lane */ \
    X(LOAD, 16, T(TAG_KEY_ID) | T(TAG_ALGORITHM) | T(TAG_SCHEME) | T(TAG_SPKI), 0) \
    X(SIGN, 17, T(TAG_KEY_ID) | T(TAG_SCHEME) | T(TAG_INPUT), 0) \
    X(PROBE, 20, 0, 0) \
    X(GENERATE, 21, T(TAG_KEY_ID) | T(TAG_ALGORITHM) | T(TAG_SCHEME) | T(TAG_LABEL), 0) /* administrative lane only, as the next two */ \
    X(LIST, 22, 0, 0) \
    X(ISSUE, 23, T(TAG_CSR) | T(TAG_PROFILE), 0) \
    X(ANCHOR, 24, T(TAG_LABEL), T(TAG_ANCHOR)) /* administrative lane: with the field ANCHOR replaces the anchor on the token, without it reads */ \
    X(DESTROY, 25, T(TAG_KEY_ID) | T(TAG_ALGORITHM) | T(TAG_SCHEME) | T(TAG_LABEL) | T(TAG_SPKI), 0) /* administrative lane: removes both halves, whatever of them is left */ \
    X(UNLOAD, 26, T(TAG_KEY_ID), 0) /* signing lanes: the key is not loaded any more, whether it was or not */ \
    /* lane -> core, same id */ \
    X(RESULT, 32, 0, T(TAG_OUTPUT) | T(TAG_SPKI) | T(TAG_BIRTH) | T(TAG_CERT) | T(TAG_OBJECTS) | T(TAG_ANCHOR) | T(TAG_PROOF)) \
    X(ERROR, 33, T(TAG_CLASS) | T(TAG_REASON), 0) \
    /* supervisor -> core (CHILD carries the core's end of the socket pair as SCM_RIGHTS) */ \
    X(CHILD, 48, T(TAG_ROLE) | T(TAG_INDEX) | T(TAG_PID), 0) \
    X(CHILD_GONE, 49, T(TAG_ROLE) | T(TAG_INDEX) | T(TAG_PID), T(TAG_REASON)) \
    X(STOP, 50, 0, T(TAG_REASON)) \
    /* core -> supervisor */ \
    X(READY, 51, 0, T(TAG_REASON)) /* everything works; with a reason: the service answers, but this is missing */ \
    X(KILL, 52, T(TAG_ROLE) | T(TAG_INDEX) | T(TAG_PID) | T(TAG_REASON), 0) \
    X(PROVED, 53, T(TAG_ROLE) | T(TAG_INDEX) | T(TAG_PID), 0)    /* that lane has shown that it works: its pauses start from the beginning */ \
    /* core -> reader; HEAD is what it may read up to */ \
    X(SEARCH, 54, T(TAG_QUERY) | T(TAG_HEAD), 0) \
    X(RECORD, 55, T(TAG_SEQ) | T(TAG_HEAD), 0) \
    X(BLOB, 56, T(TAG_HASH), 0) \
    /* reader -> core, same id: an HTTP body; SEQ is the `after` of the next page */ \
    X(FOUND, 57, T(TAG_BODY) | T(TAG_CONTENT_TYPE), T(TAG_SEQ)) \
    X(MISSED, 58, T(TAG_CODE) | T(TAG_REASON), 0) \
    /* core -> reader, when records became durable; reader -> core, one for each of them and while it works on long things, with what it does (REASON) */ \
    X(HEAD, 59, T(TAG_HEAD), T(TAG_REASON)) \
    /* health door -> core, and the answer; one at a time */ \
    X(METRICS_ASK, 60, 0, 0) \
    X(METRICS, 61, T(TAG_METRICS), 0)

enum frame_tag {
#define X(name, number) TAG_##name = number,
    FRAME_TAGS(X)
#undef X
};
enum frame_type {
#define X(name, number, required, optional) FRAME_##name = number,
    FRAME_TYPES(X)
#undef X
};

enum child_role { CHILD_CORE = 0, CHILD_FRONT_CI = 1, CHILD_FRONT_ADMIN = 2, CHILD_LANE_ADMIN = 3, CHILD_LANE_SIGN = 4, CHILD_FRONT_HEALTH = 5, CHILD_READER = 6 };

/* How a lane's process ends when it knows why. */
enum lane_exit {
    LANE_EXIT_TOKEN = 75,   /* its token failed or went away */
    LANE_EXIT_SEALED = 77,  /* the token refused the PIN: no other attempt before `kmsd unseal` */
    LANE_EXIT_SETTINGS = 78
};
#define REASON_RENEWED "renewed" /* CHILD_GONE's reason for a door that hands over to another process as it was told to */
#define REASON_SEALED "sealed" /* CHILD_GONE's reason for LANE_EXIT_SEALED */

/* Why a lane failed, as the core must treat it. */
enum lane_error {
    LANE_TOKEN = 1,    /* token or module gone: the lane exits after this answer; 503, the request may go to another lane once */
    LANE_HUMAN = 2,    /* PIN refused or locked: somebody must act */
    LANE_BUG = 3,      /* the module says our call was wrong: 500 */
    LANE_INPUT = 4,    /* the lane's own check refused the input's shape */
    LANE_KEY = 5,      /* key not loaded, not found exactly once, or its public key is not the recorded one */
    LANE_VERIFY = 6,   /* the signature did not verify: nothing was released */
    LANE_UNABLE = 7    /* this token makes no such keys: the caller must choose others */
};

struct frame {
    uint8_t type;
    uint64_t id;
    struct span field[FRAME_TAG_LIMIT]; /* data == NULL: absent */
};

/* Length of the first whole frame in data (header included); 0 = more bytes needed; -1 = malformed (length over FRAME_MAX or too short). */
int frame_next(struct span data, size_t *len) __attribute__((warn_unused_result));
/* Parses one whole frame; the spans point into data. Refuses unknown type, unknown, duplicate, forbidden or missing tag, a number field that is not 8 bytes, text with NUL. */
int frame_parse(struct span whole, struct frame *out, struct err *e) __attribute__((warn_unused_result));
/* Must a frame of that type have that field? */
bool frame_requires(enum frame_type type, enum frame_tag tag);
/* Writing: begin, put..., end. frame_end fills in the length and fails the buffer when over FRAME_MAX. mark = value frame_begin returned. */
size_t frame_begin(struct buf *b, enum frame_type type, uint64_t id);
void frame_put(struct buf *b, enum frame_tag tag, struct span value);
void frame_put_str(struct buf *b, enum frame_tag tag, const char *value);
void frame_put_u64(struct buf *b, enum frame_tag tag, uint64_t value);
void frame_end(struct buf *b, size_t mark);
/* Reading. frame_u64: 0 when absent. frame_text: copies into out (size incl. NUL), -1 when absent or too long. */
bool frame_has(const struct frame *f, enum frame_tag tag);
uint64_t frame_u64(const struct frame *f, enum frame_tag tag);
int frame_text(const struct frame *f, enum frame_tag tag, char *out, size_t size) __attribute__((warn_unused_result));

#endif
