/* The release statement (in-toto Statement v1, predicate https://kmsd.dev/release/v1) as plain values. */
#ifndef KMS_CLIENT_RELEASE_H
#define KMS_CLIENT_RELEASE_H

#include <stdint.h>

#include "base/hash.h"
#include "base/json.h"
#include "base/timefmt.h"
#include "policy/names.h"
#include "policy/version.h"

#define RELEASE_TEXT 129
#define RELEASE_SOURCE 2049

struct release {
    char app[APP_MAX_LEN + 1], channel[NAME_MAX_LEN + 1], version[VERSION_MAX + 1], name[ARTIFACT_MAX_LEN + 1];
    char sha256[SHA256_HEX];            /* of the artifact */
    int64_t size;                       /* bytes, -1 = not bound */
    char key_name[NAME_MAX_LEN + 1];
    int64_t key_version;
    char instance[RELEASE_TEXT], environment[16], request_id[RELEASE_TEXT];
    char issued[TIME_TEXT], expires[TIME_TEXT]; /* expires "" = never */
    int64_t log_seq;                    /* last durable record when it was decided */
    char log_hash[SHA256_HEX];
    char source[RELEASE_SOURCE];        /* text or canonical JSON, "" = none */
};
/* Strict: an unknown or missing member, a name outside its alphabet, or another predicate type is refused. Written only on success. */
int release_parse(struct span payload, struct release *out, struct err *e) __attribute__((warn_unused_result));
/* The same values as a JSON object; caller owns. */
json_t *release_to_json(const struct release *r);

#endif
