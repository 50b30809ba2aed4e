/* The quick way into jansson's values, for json_read_object alone. */
#ifndef KMS_BASE_JSONREAD_H
#define KMS_BASE_JSONREAD_H

#include "base/json.h"

/* The object that is all of the text, which json_read_object has looked through; equal to what jansson makes of it. NULL = not that easy: it has escapes, or is
 * wrong, or memory is short. */
json_t *json_read_plain(const char *data, size_t len);

#endif
