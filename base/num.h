/* The one strict number parser. */
#ifndef KMS_BASE_NUM_H
#define KMS_BASE_NUM_H

#include <stddef.h>
#include <stdint.h>

#define JSON_INT_MAX 9007199254740991LL /* 2^53-1 */

/* Decimal digits only, no sign, no leading zero (but "0"), min <= n <= max. -1 otherwise. */
int num_parse_u64(const char *text, size_t len, uint64_t min, uint64_t max, uint64_t *out) __attribute__((warn_unused_result));

#endif
