/* The kinds of values that members of a record have. */
#ifndef KMS_VERIFY_SCHEMA_TYPES_H
#define KMS_VERIFY_SCHEMA_TYPES_H

#include "base/json.h"

enum field_type {
    TYPE_END,           /* ends a list of fields */
    TYPE_TEXT,          /* any text */
    TYPE_NAME,          /* text that is not empty */
    TYPE_WORD,          /* one of words */
    TYPE_HASH,          /* 64 lower-case hexadecimal digits */
    TYPE_HASH_384,      /* 96 of them */
    TYPE_HASH_OR_EMPTY,
    TYPE_ID,            /* 32 lower-case hexadecimal digits */
    TYPE_BASE64,
    TYPE_TIME,
    TYPE_COUNT,         /* integer from 0 on */
    TYPE_INTEGER,
    TYPE_BOOL,
    TYPE_SCALAR,        /* text or integer */
    TYPE_OBJECT,        /* members by sub, or by alternative if that fits */
    TYPE_HASHES,        /* object of hashes under names of its own */
    TYPE_ARRAY          /* items by sub[0] */
};
struct field {
    const char *name;
    enum field_type type;
    bool optional;
    const char *const *words;
    const struct field *sub, *alternative;
};

int field_check(const struct field *f, const json_t *value, struct err *e) __attribute__((warn_unused_result));
/* An object that has the fields of the list, the optional ones or not, and no others. */
int fields_check(const struct field *list, const json_t *object, struct err *e) __attribute__((warn_unused_result));

#endif
