/* Well-formed UTF-8 (RFC 3629, Unicode table 3-7), one sequence at a time. */
#ifndef KMS_BASE_UTF8_H
#define KMS_BASE_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* Length (1 to 4) of the well-formed sequence that starts at p, of which `left` bytes are there; 0 = not well-formed. NUL counts as one. */
size_t utf8_sequence(const uint8_t *p, size_t left) __attribute__((warn_unused_result));

/* Is the sequence of that length a control character of ASCII (C0, DEL) or of Latin-1 (C1)? */
static inline int utf8_is_control(const uint8_t *p, size_t len)
{
    return len == 1 ? p[0] < 0x20 || p[0] == 0x7f : len == 2 && p[0] == 0xc2 && p[1] < 0xa0;
}

#endif
