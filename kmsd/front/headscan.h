/* A strict reader of HTTP/1.1 request heads (RFC 9112) that sees every byte before the HTTP library does. Pure. */
#ifndef KMS_FRONT_HEADSCAN_H
#define KMS_FRONT_HEADSCAN_H

#include "base/buf.h"
#include "base/err.h"

#define HEAD_MAX 8192
#define HEAD_FIELDS_MAX 64
#define HEAD_TARGET_MAX 2048
#define HEAD_PARAMETERS_MAX 64

enum headscan_state { HEADSCAN_HEAD, HEADSCAN_BODY, HEADSCAN_BAD };
/* What of a head can be asked for; the fields among them may stand only once. */
enum headscan_part {
    HEADSCAN_METHOD,
    HEADSCAN_TARGET,
    HEADSCAN_HOST,
    HEADSCAN_CONTENT_LENGTH,
    HEADSCAN_CONTENT_TYPE,
    HEADSCAN_IDEMPOTENCY_KEY,
    HEADSCAN_KMS_SIGNATURE,
    HEADSCAN_EXPECT,
    HEADSCAN_CONNECTION,
    HEADSCAN_AUTHORIZATION,
    HEADSCAN_PARTS
};
struct headscan {
    enum headscan_state state;
    size_t len;              /* bytes of the head so far */
    uint64_t body_left;
    uint64_t content_length; /* of the head that was read last, as the next two */
    struct {
        uint16_t at, len;
        bool present;
    } part[HEADSCAN_PARTS];
    uint8_t head[HEAD_MAX];
    uint64_t heads;          /* heads found good */
    enum err_code verdict;   /* why it is HEADSCAN_BAD */
    const char *why;
};
/* Takes bytes as they come off the wire, at most to the end of the request they belong to, and appends what the HTTP library may see to out: the
 * whole checked head, then the body. Returns how many it took. A bad head takes all, and nothing is passed on from then on. */
size_t headscan_feed(struct headscan *s, struct span in, struct buf *out);
/* Is it between two requests: the last one whole, nothing yet of the next? */
bool headscan_between(const struct headscan *s);
/* A part of the head that was read last, valid until the next byte is fed; data == NULL: absent. Values come without the white space around them. */
struct span headscan_part(const struct headscan *s, enum headscan_part part);

#endif
