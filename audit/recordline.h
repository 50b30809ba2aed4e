/* The members of a record that signatures rest on, found in its line without building a tree. */
#ifndef KMS_AUDIT_RECORDLINE_H
#define KMS_AUDIT_RECORDLINE_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"

/* X(name, path), in the order of the canonical form. */
#define LINE_MEMBERS(X) \
    X(ACTOR, "actor.name") X(APP, "artifact.app") X(CHANNEL, "artifact.channel") X(VERSION, "artifact.version") X(BODY_SHA256, "body_sha256") \
    X(ENVIRONMENT, "detail.environment") X(ISSUED, "detail.issued") X(LOG_HEAD, "detail.log_head") X(NAME, "detail.name") X(SIZE, "detail.size") \
    X(DIGEST, "digest.hex") X(EVENT, "event") X(IDEM, "idem") X(KEY, "key") X(KEY_NAME, "key.name") X(KEY_VERSION, "key.version") \
    X(OUTCOME, "outcome") X(PREV, "prev") X(REQ, "req") X(SCHEME, "scheme") X(SEQ, "seq") X(SIGNATURE, "signature") \
    X(SOURCE_CLAIMED, "source_claimed") X(TIME, "time") X(V, "v")
enum line_member {
#define X(name, path) LINE_##name,
    LINE_MEMBERS(X)
#undef X
    LINE_MEMBER_COUNT
};

struct record_line {
    struct span text;                      /* without LF; whoever read it keeps it */
    struct span member[LINE_MEMBER_COUNT]; /* JSON text, strings with their quotes; data NULL = absent */
};

/* ERR_INTERNAL unless the text is the canonical form of an object. */
int record_line_read(struct span text, struct record_line *out, struct err *e) __attribute__((warn_unused_result));
/* Is the member exactly this text, which needs no escape? */
bool record_line_is(const struct record_line *l, enum line_member m, const char *text);
/* What stands between the quotes; data NULL = it is absent, no string, or has escapes. */
struct span record_line_string(const struct record_line *l, enum line_member m);
/* -1 where it is absent or no number. */
int record_line_number(const struct record_line *l, enum line_member m, uint64_t *out) __attribute__((warn_unused_result));

#endif
