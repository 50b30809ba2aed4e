/* A strict reader of HTTP/1.1 request heads (RFC 9112) that sees every byte before the HTTP library does. Pure. */
#ifndef KMS_FRONT_HEADSCAN_H
#define KMS_FRONT_HEADSCAN_H

#include "base/buf.h"
#include "base/err.h"

#define HEAD_MAX 8192
#define HEAD_FIELDS_MAX 64
#define HEAD_TARGET_MAX 2048

enum headscan_state { HEADSCAN_HEAD, HEADSCAN_BODY, HEADSCAN_BAD };
struct headscan {
    enum headscan_state state;
    uint8_t head[HEAD_MAX];
    size_t len;              /* bytes of the head so far */
    uint64_t body_left;
    uint64_t content_length; /* of the request that was read last */
    uint64_t heads;          /* heads found good */
    enum err_code verdict;   /* why it is HEADSCAN_BAD */
    const char *why;
};
/* Takes bytes as they come off the wire and appends what the HTTP library may see to out: whole checked heads, and bodies. After a bad head nothing more is passed on. */
void headscan_feed(struct headscan *s, struct span in, struct buf *out);

#endif
