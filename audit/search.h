/* A search over the audit log: what a query string may ask for. One table for who lets the query in and who runs it. */
#ifndef KMS_AUDIT_SEARCH_H
#define KMS_AUDIT_SEARCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"

#define SEARCH_TEXT_MAX 128
#define SEARCH_LIMIT 100       /* records a page, unless asked for others */
#define SEARCH_LIMIT_MAX 1000
#define SEARCH_QUERY_MAX 2048

/* X(code, parameter, member of the record or of the object before the dot): what is compared for equality. */
#define SEARCH_FIELDS(X) \
    X(EVENT, "event", "event") X(OUTCOME, "outcome", "outcome") X(ACTOR, "actor", "actor.name") X(KEY, "key", "key.name") \
    X(APP, "app", "artifact.app") X(CHANNEL, "channel", "artifact.channel") X(VERSION, "version", "artifact.version") \
    X(DIGEST, "digest", "digest.hex") X(REQUEST, "request", "req")
enum search_field {
#define X(code, parameter, member) SEARCH_##code,
    SEARCH_FIELDS(X)
#undef X
    SEARCH_FIELD_COUNT
};

struct search {
    char text[SEARCH_FIELD_COUNT][SEARCH_TEXT_MAX + 1]; /* "" = any */
    int64_t since, until;          /* since <= time < until, microseconds */
    uint64_t after;                /* only what comes behind this record in the order asked for */
    bool has_after;
    unsigned limit;
    bool descending;               /* the newest first */
    bool lines;                    /* raw lines instead of one JSON object */
};

/* Reads "name=value&…" with %XX escapes; every parameter at most once, every value within its alphabet. ERR_BAD_REQUEST, ERR_UNKNOWN_MEMBER. */
int search_parse(const char *query, struct search *out, struct err *e) __attribute__((warn_unused_result));
/* Value of the compared member; "" when the record has none. */
const char *search_value(const json_t *record, enum search_field field);
/* Does the record fit everything but after? */
bool search_matches(const struct search *s, const json_t *record);

#endif
