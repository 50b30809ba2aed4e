/* The check that keeps a statement key from signing anything but a statement, whatever the core was talked into. */
#include "kmsd/token/statement.h"

#include <string.h>

#include "base/num.h"

#define PAE_PREFIX "DSSEv1 28 application/vnd.in-toto+json "
#define BODY_MAX (1u << 20)

int statement_shape(struct span input)
{
    const size_t prefix = sizeof PAE_PREFIX - 1;
    const char *text = (const char *)input.data, *space;
    size_t digits;
    uint64_t body;

    if (input.len <= prefix || memcmp(text, PAE_PREFIX, prefix))
        return -1;
    space = memchr(text + prefix, ' ', input.len - prefix);
    if (!space)
        return -1;
    digits = (size_t)(space - text) - prefix;
    if (num_parse_u64(text + prefix, digits, 2, BODY_MAX, &body) || body != input.len - prefix - digits - 1)
        return -1;
    return space[1] == '{' && text[input.len - 1] == '}' ? 0 : -1;
}
