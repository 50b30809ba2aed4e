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
/* One record under application. */
struct fold {
    struct state *s;
    const json_t *record, *detail;
    struct span line;
    const struct blob_source *blobs;
};
int fold_sign(struct fold *f, struct err *e) __attribute__((warn_unused_result));
int fold_withdraw(struct fold *f, struct err *e) __attribute__((warn_unused_result));
/* Remembers the answer of a successful request that carried an Idempotency-Key. */
int fold_stored(struct fold *f, struct err *e) __attribute__((warn_unused_result));
int fold_add_identity(struct state *s, const json_t *j, const char *created, bool founder, struct err *e) __attribute__((warn_unused_result));

#endif
