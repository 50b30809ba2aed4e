/* What the files of the fold share among themselves. */
#ifndef KMS_AUDIT_STATE_INTERNAL_H
#define KMS_AUDIT_STATE_INTERNAL_H

#include "audit/state/state.h"

#define CREDENTIAL_ID_MAX (X509_SAN_TEXT + SHA256_HEX + 16)

struct credential_ref {
    char id[CREDENTIAL_ID_MAX];
    struct identity *identity;
};

void release_free(void *node);
void mark_id(const char *app, const char *channel, char *out, size_t size);
/* facts.c: texts are "" where a record has none. */
struct facts {
    bool is_record;               /* of format 1 */
    uint64_t seq;
    int64_t time;                 /* -1 = it has none */
    const char *prev, *event, *outcome, *actor, *idem, *body_sha256;
    const char *method, *path;    /* of the request that a person signed, NULL = there is none */
    const char *app, *channel, *version, *name, *digest, *key;
};
void facts_of_record(const json_t *record, struct facts *out);
#define FACTS_ROOM 2048           /* for the texts */
int facts_of_line(const struct record_line *line, char room[static FACTS_ROOM], struct facts *out, struct err *e) __attribute__((warn_unused_result));
/* One record under application. */
struct fold {
    struct state *s;
    struct facts is;
    const json_t *record, *detail; /* NULL for that of a signature */
    struct span line;
    const struct blob_source *blobs;
};
int fold_sign(struct fold *f, struct err *e) __attribute__((warn_unused_result));
int fold_withdraw(struct fold *f, struct err *e) __attribute__((warn_unused_result));
int fold_key_change(struct fold *f, struct err *e) __attribute__((warn_unused_result));
int fold_erase_intent(struct fold *f, struct err *e) __attribute__((warn_unused_result));
int fold_erase_result(struct fold *f, struct err *e) __attribute__((warn_unused_result));
/* Reads a policy's blob, checks its SHA-256 and makes it the one that holds, as of record seq. */
int state_set_policy(struct state *s, const struct blob_source *blobs, const char *sha256, uint64_t seq, const char *time, struct err *e)
    __attribute__((warn_unused_result));
/* The mark of a channel, made when there is none; NULL when memory is out. */
struct mark *mark_make(struct state *s, const char *app, const char *channel);
/* Adds the artifact that a signature's record names to its channel's newest version. */
int release_take(struct mark *m, const struct facts *is, struct span line, struct err *e) __attribute__((warn_unused_result));
/* Stores the answer that a record's line makes; *taken = false when its principal has too many, or it is there. */
int stored_take(struct state *s, const struct facts *is, struct span line, bool *taken, struct err *e) __attribute__((warn_unused_result));
/* Remembers the answer of a successful request that carried an Idempotency-Key. */
int fold_stored(struct fold *f, struct err *e) __attribute__((warn_unused_result));
int fold_renew(struct fold *f, struct err *e) __attribute__((warn_unused_result));
int fold_add_credential(struct state *s, struct identity *i, const struct credential *c, struct err *e) __attribute__((warn_unused_result));
/* Fills a credential from its record form; -1 when it is not one. */
int credential_from_json(const json_t *j, struct credential *c) __attribute__((warn_unused_result));
int fold_add_identity(struct state *s, const json_t *j, const char *created, bool founder, struct err *e) __attribute__((warn_unused_result));

#endif
