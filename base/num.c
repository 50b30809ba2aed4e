/* The one strict number parser. */
#include "base/num.h"

int num_parse_u64(const char *text, size_t len, uint64_t min, uint64_t max, uint64_t *out)
{
    uint64_t n = 0;

    if (len == 0 || (text[0] == '0' && len > 1))
        return -1;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return -1;
        if (__builtin_mul_overflow(n, 10u, &n) || __builtin_add_overflow(n, (uint64_t)(text[i] - '0'), &n))
            return -1;
    }
    if (n < min || n > max)
        return -1;
    *out = n;
    return 0;
}
