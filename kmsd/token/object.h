/* The objects of the token: read once at login into an index, since looking up each key by itself is quadratic. */
#ifndef KMS_TOKEN_OBJECT_H
#define KMS_TOKEN_OBJECT_H

#include "kmsd/token/p11.h"

#define OBJECTS_MAX 16384
#define OBJECT_ID_MAX 64
#define OBJECT_LABEL_MAX 160

struct object {
    CK_OBJECT_HANDLE handle;
    CK_OBJECT_CLASS class;
    CK_KEY_TYPE type;                /* CK_UNAVAILABLE_INFORMATION where the class has none */
    size_t id_len;
    uint8_t id[OBJECT_ID_MAX];
    char label[OBJECT_LABEL_MAX];    /* "" where it has none that fits */
};
struct object_index {
    struct object *list;
    size_t n, cap;
    unsigned epoch;                  /* login that the handles belong to */
};

struct object_index *objects_new(void);
void objects_free(struct object_index *index);
/* Replaces what the index holds by what is on the token now. */
int objects_read(struct token *t, struct object_index *index, struct fault *f) __attribute__((warn_unused_result));
/* Its keys alone. SoftHSM gives an object whose attributes are asked for while another process makes it the defaults of those that it has not yet, in its
 * file: a lane that starts must not ask for the anchor, which the administrative lane may be replacing, and not at once for a key that is being made. */
int objects_read_keys(struct token *t, struct object_index *index, struct fault *f) __attribute__((warn_unused_result));
/* Exactly one object of that class, key type and CKA_ID: the index first, then, for one made since, the token. LANE_KEY otherwise.
 * Copied out, for the index moves. */
int object_find(struct token *t, CK_OBJECT_CLASS class, CK_KEY_TYPE type, struct span id, struct object *out, struct fault *f)
    __attribute__((warn_unused_result));
/* How many objects of whatever class carry this CKA_ID on the token now. */
int object_count(struct token *t, struct span id, size_t *out, struct fault *f) __attribute__((warn_unused_result));
/* Those objects themselves, appended to an index of the caller's. */
int objects_of_id(struct token *t, struct span id, struct object_index *out, struct fault *f) __attribute__((warn_unused_result));
/* The index does not know objects of this CKA_ID any more; one that is looked for again is searched on the token. */
void objects_forget(struct token *t, struct span id);
/* [{"class","id","label","type"}] of every object on the token now. */
int objects_list(struct token *t, json_t **out, struct fault *f) __attribute__((warn_unused_result));

#endif
