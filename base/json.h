/* Strict reading and canonical writing of JSON; the only file that includes jansson. */
#ifndef KMS_BASE_JSON_H
#define KMS_BASE_JSON_H

#include <jansson.h>

#include "base/buf.h"
#include "base/err.h"

#define JSON_DEPTH_MAX 16
#define JSON_VALUES_MAX (1u << 17) /* commas of a document, which bounds what is built from it */
#define JSON_AUTO __attribute__((cleanup(json_auto_free))) json_t
void json_auto_free(json_t **j);

/* Parses one JSON object: UTF-8, no NUL, no duplicate members, depth <= JSON_DEPTH_MAX, no reals (1.0, 1e2, -0), |n| <= 2^53-1, nothing after it.
 * NULL and ERR_BAD_REQUEST with line and column otherwise. Caller owns. max_len: ERR_TOO_LARGE when len is over it. */
json_t *json_read_object(const void *data, size_t len, size_t max_len, struct err *e);

/* Reading members out of an object one by one; json_done refuses what is left over (ERR_UNKNOWN_MEMBER, names it).
 * `where` is the path for messages, e.g. "" or "digest". Each getter: -1 with ERR_BAD_REQUEST that names the member. The opt_ forms set *out to NULL/dflt when absent.
 * Strings are borrowed from the object. Reader keeps count of what was read: every member asked for once. */
struct json_flat;
struct json_reader {
    const json_t *object;
    const struct json_flat *flat;  /* instead, and which of its objects */
    unsigned within;
    const char *where;
    const char *seen[32];
    size_t n_seen;
};
int json_begin(struct json_reader *r, const json_t *object, const char *where, struct err *e) __attribute__((warn_unused_result));
int json_get_str(struct json_reader *r, const char *name, size_t max_len, const char **out, struct err *e) __attribute__((warn_unused_result));
int json_opt_str(struct json_reader *r, const char *name, size_t max_len, const char **out, struct err *e) __attribute__((warn_unused_result));
int json_get_int(struct json_reader *r, const char *name, int64_t min, int64_t max, int64_t *out, struct err *e) __attribute__((warn_unused_result));
int json_opt_int(struct json_reader *r, const char *name, int64_t min, int64_t max, int64_t dflt, int64_t *out, struct err *e) __attribute__((warn_unused_result));
int json_opt_bool(struct json_reader *r, const char *name, bool dflt, bool *out, struct err *e) __attribute__((warn_unused_result));
int json_get_object(struct json_reader *r, const char *name, const json_t **out, struct err *e) __attribute__((warn_unused_result));
int json_opt_object(struct json_reader *r, const char *name, const json_t **out, struct err *e) __attribute__((warn_unused_result));
/* Is there such a member, of whatever kind? Does not count as read. */
bool json_has(const struct json_reader *r, const char *name);
/* Begins to read a member that must be there and be an object. */
int json_get_within(struct json_reader *r, const char *name, struct json_reader *in, struct err *e) __attribute__((warn_unused_result));
int json_get_array(struct json_reader *r, const char *name, size_t max_items, const json_t **out, struct err *e) __attribute__((warn_unused_result));
int json_opt_array(struct json_reader *r, const char *name, size_t max_items, const json_t **out, struct err *e) __attribute__((warn_unused_result));
int json_done(const struct json_reader *r, struct err *e) __attribute__((warn_unused_result));

/* A small object read where it stands, without asking for memory: strings without escapes, whole numbers from 0, true, false, and objects of those. */
#define JSON_FLAT_MAX 24
struct json_flat {
    unsigned n;
    struct json_flat_member {
        unsigned within;           /* 0 = the object itself, else 1 + the index of the member that is the object */
        json_type type;
        char *name, *text;         /* text: of a string */
        size_t name_len, len;
        int64_t number;
    } member[JSON_FLAT_MAX];
};
/* Ends names and strings with a NUL in the text itself. -1 = not that easy, or wrong, and the text is as it was: json_read_object tells. */
int json_flat_read(char *text, size_t len, struct json_flat *out) __attribute__((warn_unused_result));
void json_begin_flat(struct json_reader *r, const struct json_flat *flat);
/* {"NAME":[…]} of 1 to max such objects, whose members have names in ASCII: where each of them stands, so that json_flat_read takes it. The text stays as it is.
 * -1 = not that easy, or wrong. */
int json_flat_list(char *text, size_t len, const char *name, struct span *out, size_t max, size_t *n) __attribute__((warn_unused_result));
/* json_canonical of an object of such a list, once it was read. */
void json_flat_canonical(struct buf *out, const struct json_flat *flat);

/* RFC 8785 serialisation of a value without reals (members sorted by UTF-16 code units, minimal escapes). Appends; fails the buffer on a real or an integer beyond 2^53-1. */
void json_canonical(struct buf *out, const json_t *value);
/* The same of one string. */
void json_canonical_string(struct buf *out, const char *text);
/* One pass, no allocation: are these bytes exactly the RFC 8785 form of one JSON object whose member names are [a-z0-9_]+ (sorted, unique), without reals, depth <= JSON_DEPTH_MAX? */
int json_is_canonical(const void *data, size_t len) __attribute__((warn_unused_result)); /* 0 = yes, -1 = no */
/* The same, and finds the text (strings with their quotes, objects and arrays whole) of members, named by their paths ("seq", "detail.name") and given in the order in which the canonical
 * form has them, an object before its members; data NULL = there is none of that name. */
struct json_wanted {
    const char *name;
    struct span text;
};
int json_scan_canonical(const void *data, size_t len, struct json_wanted *wanted, size_t n) __attribute__((warn_unused_result));
/* The object that such bytes are the form of; the caller owns it. NULL when they are none, or when memory is out. Faster than json_read_object. */
json_t *json_read_canonical(const void *data, size_t len);
/* Valid UTF-8 without NUL? 0 = yes. */
int utf8_check(const void *data, size_t len) __attribute__((warn_unused_result));

#endif
