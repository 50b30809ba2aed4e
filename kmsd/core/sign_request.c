/* The body of POST /v1/sign, read strictly. */
#include <string.h>

#include "base/enc.h"
#include "base/num.h"
#include "base/scheme.h"
#include "kmsd/core/internal.h"

#define SOURCE_MAX 512

static int parse_digest(struct json_reader *r, struct sign_request *out, struct err *e)
{
    const char *alg, *hex;
    uint8_t bytes[SCHEME_DIGEST_MAX];
    size_t len;

    if (json_get_str(r, "alg", 32, &alg, e) || json_get_str(r, "hex", 1024, &hex, e) || json_done(r, e))
        return -1;
    len = hash_length(alg);
    if (!len)
        return err_set(e, ERR_BAD_DIGEST, "digest.alg is %.32s; keys here take sha256 or sha384", alg);
    if (strlen(hex) != 2 * len)
        return err_set(e, ERR_BAD_DIGEST, "digest.hex has %zu characters, a %s has %zu", strlen(hex), alg, 2 * len);
    if (hex_decode(hex, strlen(hex), bytes, len))
        return err_set(e, ERR_BAD_DIGEST, "digest.hex has a character outside 0-9 a-f");
    out->alg = alg;
    out->digest = hex;
    return 0;
}

static int check(const struct sign_request *s, struct err *e)
{
    if (name_check(s->key, "key", e) || app_check(s->app, "app", e) || name_check(s->channel, "channel", e) || version_check(s->version, e) ||
        artifact_check(s->name, "name", e))
        return -1;
    for (const char *p = s->source; p && *p; p++)
        if ((unsigned char)*p < 0x20 || (unsigned char)*p == 0x7f)
            return err_set(e, ERR_BAD_REQUEST, "source has a control character");
    return 0;
}

int sign_request_parse(struct json_reader *r, struct sign_request *out, struct err *e)
{
    struct json_reader digest;
    struct sign_request s = {.size = -1};
    bool receipt;

    if (json_get_str(r, "key", 1024, &s.key, e) || json_get_str(r, "app", 1024, &s.app, e) ||
        json_get_str(r, "channel", 1024, &s.channel, e) || json_get_str(r, "version", 1024, &s.version, e) ||
        json_get_within(r, "digest", &digest, e) || json_opt_str(r, "name", 1024, &s.name, e) ||
        json_opt_int(r, "size", 0, JSON_INT_MAX, -1, &s.size, e) || json_opt_str(r, "source", SOURCE_MAX, &s.source, e) ||
        json_opt_bool(r, "receipt", false, &receipt, e) || json_opt_bool(r, "dry_run", false, &s.dry_run, e) || json_done(r, e))
        return -1;
    if (receipt)
        return err_set(e, ERR_BAD_REQUEST, "receipt: this service has no checkpoints yet; leave the member out, the answer's record {seq, hash} is the evidence");
    if (!s.name)
        s.name = s.app;
    if (parse_digest(&digest, &s, e) || check(&s, e))
        return -1;
    *out = s;
    return 0;
}
