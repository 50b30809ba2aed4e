/* The state of an instance: a pure fold over the records of its log. Nothing else is a source of truth. */
#ifndef KMS_AUDIT_STATE_H
#define KMS_AUDIT_STATE_H

#include "audit/record.h"
#include "audit/recordline.h"
#include "base/x509.h"
#include "policy/names.h"
#include "policy/policy.h"
#include "policy/version.h"

#define CREDENTIALS_MAX 4
#define SSH_KEYS_MAX 8
#define KEY_ID_LEN 16
#define KEY_ID_HEX 33
#define STORED_ANSWERS_MAX 10000                       /* a principal */
#define STORED_ANSWER_TIME (24 * 3600 * INT64_C(1000000)) /* microseconds */

enum credential_kind { CREDENTIAL_CERTIFICATE, CREDENTIAL_SPIFFE, CREDENTIAL_DNS };
struct credential {
    enum credential_kind kind;
    bool issued;
    char cert_sha256[SHA256_HEX], spki_sha256[SHA256_HEX];
    char not_after[32];
    char value[X509_SAN_TEXT];
    char ca_spki_sha256[SHA256_HEX];
    struct buf ca_spki;
};
struct identity {
    char name[NAME_MAX_LEN + 1]; /* first member: key of the tree */
    char kind[8];
    bool founder, enabled;
    char created[32];
    unsigned n_credentials, n_ssh;
    struct credential credential[CREDENTIALS_MAX];
    char *ssh[SSH_KEYS_MAX];
};
enum key_state {
    KEY_ACTIVE,
    KEY_SUSPENDED,                  /* signs nothing until it is resumed */
    KEY_RETIRED,                    /* signs nothing any more; its public key stays */
    KEY_DESTROYING,                 /* to be removed from the token when that is due */
    KEY_DESTROYED                   /* removed, with proof */
};
struct key {
    char name[NAME_MAX_LEN + 1];
    uint64_t version;
    char algorithm[16], scheme[16], purpose[16], created[32];
    bool active;                    /* false: intent without a result */
    char key_id[KEY_ID_HEX];
    char keyid[SHA256_HEX];         /* SHA-256 of the SPKI */
    struct buf spki;                /* DER */
    uint64_t intent_seq;
    enum key_state state, before;   /* before: what a restore leads back to while it is KEY_DESTROYING, else KEY_ACTIVE */
    char since[32];                 /* when it came to that state */
    char compromised[32];           /* when it was marked so, for ever; "" = it is not */
    char due[32];                   /* while KEY_DESTROYING: not before then */
    uint64_t erase_seq;             /* intent of its removal from the token, 0 = that has not begun */
};
/* One artifact of the newest version of a channel. The line answers a repeated request. */
struct release {
    char name[ARTIFACT_MAX_LEN + 1];
    char digest[SCHEME_DIGEST_HEX];
    char key[NAME_MAX_LEN + 1];     /* that signed it */
    char *line;
};
struct mark {
    char id[APP_MAX_LEN + NAME_MAX_LEN + 2]; /* app LF channel */
    char version[VERSION_MAX + 1];
    bool withdrawn;
    void *releases;                 /* tree of struct release */
};
/* A recorded success under an Idempotency-Key. */
struct stored {
    char id[SHA256_HEX];            /* SHA-256 of principal LF method LF path LF Idempotency-Key */
    char body_sha256[SHA256_HEX];
    int64_t time;
    uint64_t seq;                   /* the record that the answer is made of */
    char *line;
    struct stored *next;            /* in order of time */
    struct idem_owner *owner;
};
struct idem_owner {
    char name[NAME_MAX_LEN + 1];
    unsigned count;
};

/* The newest anchor.reset: with it an operator went on with a log that did not hold its anchor. */
struct reset {
    uint64_t seq;                   /* its record, 0 = there was none */
    uint64_t counter;               /* of the anchor that was made then: those with a lower one are older */
    bool old;                       /* it overruled an anchor that named record old_seq */
    uint64_t old_seq;
    bool token;                     /* and this one on the token */
    uint64_t token_seq;
    char token_hash[SHA256_HEX];
};

struct state {
    struct chain chain;
    char head[SHA256_HEX];          /* hash of the last record */
    bool genesis;
    char instance[33], origin[256], mode[16];
    struct buf ca_spki, ca_cert;    /* DER */
    struct buf ca_before;           /* SPKI (DER) of the CA before it, whose certificates stay good; empty = there was none */
    char server_sha256[SHA256_HEX]; /* of the newest certificate of the doors that a record holds, "" = there is none */
    void *identities, *credentials; /* trees; credentials: "c:<cert sha256>", "s:<ca spki sha256>:spiffe:<value>" … → identity */
    void *keys, *marks, *stored, *idem_owners;
    struct stored *stored_first, *stored_last;
    uint64_t n_stored;
    struct snapshot_writer *writer; /* writes this state down meanwhile; NULL = none does, borrowed */
    unsigned n_identities, n_keys;  /* keys that the token must hold */
    struct policy *policy;
    char policy_sha256[SHA256_HEX];
    struct buf policy_text;
    uint64_t policy_seq;
    char policy_time[32];
    struct reset reset;
    uint64_t snapshot_seq;          /* records that the newest named snapshot covers, 0 = there is none */
    char reconcile_sha256[SHA256_HEX]; /* reconcile_hash of the newest token.reconcile, "" = nothing is found */
    bool time_frozen;               /* the clock was set and nobody has confirmed it: nothing that waits for a moment may come to pass */
    uint64_t time_step;             /* record of the newest such step, 0 = there is none */
};

/* How the fold gets at a blob: appends its bytes, whose SHA-256 the fold checks. */
struct blob_source {
    int (*read)(void *ctx, const char *sha256, struct buf *out, struct err *e);
    void *ctx;
};

struct state *state_new(void);
void state_free(struct state *s);
/* Applies the record whose line (without LF) is given; record is that line parsed. Checks seq, prev and what the event needs; on failure the state must not be used any more. */
int state_apply(struct state *s, const json_t *record, struct span line, const struct blob_source *blobs, struct err *e) __attribute__((warn_unused_result));

/* The same for a record of a signature, of which the line alone is at hand. */
int state_apply_signature(struct state *s, const struct record_line *line, struct err *e) __attribute__((warn_unused_result));

/* Did a CA of the instance issue that certificate (DER)? 0 = yes. */
int state_issued(const struct state *s, struct span der, struct err *e) __attribute__((warn_unused_result));
struct identity *state_identity(const struct state *s, const char *name);
/* The identity that a credential id ("c:…") belongs to. */
struct identity *state_credential(const struct state *s, const char *credential_id);
struct key *state_key(const struct state *s, const char *name);
struct mark *state_mark(const struct state *s, const char *app, const char *channel);
struct release *mark_release(const struct mark *m, const char *name);
struct stored *state_stored(const struct state *s, const char *id);
/* Walk in order of name from the first one after `after` ("" = all); each() returns false to stop. */
void state_each_identity(const struct state *s, const char *after, bool (*each)(void *ctx, struct identity *i), void *ctx);
void state_each_key(const struct state *s, const char *after, bool (*each)(void *ctx, struct key *k), void *ctx);
struct policy_subject identity_subject(const struct identity *i);
void idem_id(const char *principal, const char *method, const char *path, const char *key, char out[static SHA256_HEX]);

/* What tells the findings (detail) of one token.reconcile from another's; "" for none at all. */
int reconcile_hash(const json_t *detail, char out[static SHA256_HEX], struct err *e) __attribute__((warn_unused_result));

/* JSON forms used by records. */
json_t *credential_json(const struct credential *c);
/* Fills an identity from its record form; ERR_INTERNAL when it is not one. */
int identity_from_json(const json_t *j, struct identity *out, struct err *e) __attribute__((warn_unused_result));
json_t *identity_json(const struct identity *i);
void identity_clear(struct identity *i);

#endif
