/* Finding objects on the token. */
#include "kmsd/token/object.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"

#define FIND_BATCH 256

struct object_index *objects_new(void)
{
    return calloc(1, sizeof(struct object_index));
}

void objects_free(struct object_index *index)
{
    if (!index)
        return;
    free(index->list);
    free(index);
}

static struct object *add(struct object_index *index)
{
    struct object *grown;
    size_t cap;

    if (index->n < index->cap)
        return &index->list[index->n++];
    cap = index->cap ? index->cap * 2 : 64;
    grown = cap <= OBJECTS_MAX ? reallocarray(index->list, cap, sizeof *grown) : NULL;
    if (!grown)
        return NULL;
    index->list = grown;
    index->cap = cap;
    return &index->list[index->n++];
}

/* Appends an object for every hit, only its handle filled: attributes are read after the search is closed. */
static int search(struct token *t, CK_ATTRIBUTE *template, CK_ULONG n_template, struct object_index *hits, struct fault *f)
{
    CK_OBJECT_HANDLE found[FIND_BATCH];
    CK_ULONG n = 0;
    int bad = 0;
    CK_RV rv = t->f->C_FindObjectsInit(t->session, template, n_template);

    if (rv != CKR_OK)
        return fault_rv(f, rv, "C_FindObjectsInit");
    while (!bad && (rv = t->f->C_FindObjects(t->session, found, FIND_BATCH, &n)) == CKR_OK && n) {
        if (n > FIND_BATCH)
            bad = fault_set(f, LANE_TOKEN, "the module claims to have found more objects than there was room for");
        for (CK_ULONG k = 0; k < n && !bad; k++) {
            struct object *o = add(hits);

            if (o)
                *o = (struct object){.handle = found[k], .class = CK_UNAVAILABLE_INFORMATION, .type = CK_UNAVAILABLE_INFORMATION};
            else
                bad = fault_set(f, LANE_TOKEN, "the token holds more than %d objects; use another token for more keys", OBJECTS_MAX);
        }
    }
    (void)t->f->C_FindObjectsFinal(t->session);
    return bad ? -1 : rv == CKR_OK ? 0 : fault_rv(f, rv, "C_FindObjects");
}

static bool given(const CK_ATTRIBUTE *a, size_t max)
{
    return a->ulValueLen != CK_UNAVAILABLE_INFORMATION && a->ulValueLen <= max;
}

/* One object that cannot be read must not keep the others from being used: key generation that was cut short leaves such objects behind on some
 * tokens. Each attribute by itself then; what cannot be read stays empty, so that the object is nobody's. */
static void describe_damaged(struct token *t, struct object *o, CK_ATTRIBUTE *a, size_t n, CK_RV rv)
{
    log_line(LOG_LEVEL_WARNING, "object-damaged", "handle=%lu rv=0x%lx", (unsigned long)o->handle, (unsigned long)rv);
    for (size_t k = 0; k < n; k++) {
        CK_ULONG size = a[k].ulValueLen;

        if (t->f->C_GetAttributeValue(t->session, o->handle, &a[k], 1) != CKR_OK || a[k].ulValueLen > size)
            a[k].ulValueLen = CK_UNAVAILABLE_INFORMATION;
    }
}

/* Failures that say something of one object, not of token, session or login. */
static bool of_object(CK_RV rv)
{
    struct fault f;

    fault_class(&f, rv);
    return f.class == LANE_BUG || rv == CKR_GENERAL_ERROR || rv == CKR_FUNCTION_FAILED;
}

/* 1 = the object is gone (another process removed it), 0 = filled. A missing or over-long attribute stays empty. */
static int describe(struct token *t, struct object *o, struct fault *f)
{
    const size_t id_max = sizeof o->id, label_max = sizeof o->label - 1;
    CK_ATTRIBUTE a[] = {
        {CKA_CLASS, &o->class, sizeof o->class},
        {CKA_KEY_TYPE, &o->type, sizeof o->type},
        {CKA_ID, o->id, id_max},
        {CKA_LABEL, o->label, label_max},
    };
    const size_t n = sizeof a / sizeof *a;
    const CK_ULONG room[] = {sizeof o->class, sizeof o->type, id_max, label_max};
    CK_RV rv = t->f->C_GetAttributeValue(t->session, o->handle, a, n);

    if (rv == CKR_OBJECT_HANDLE_INVALID)
        return 1;
    if (rv != CKR_OK && rv != CKR_ATTRIBUTE_TYPE_INVALID && rv != CKR_ATTRIBUTE_SENSITIVE && rv != CKR_BUFFER_TOO_SMALL) {
        if (!of_object(rv))
            return fault_rv(f, rv, "C_GetAttributeValue");
        for (size_t k = 0; k < n; k++)
            a[k].ulValueLen = room[k];
        describe_damaged(t, o, a, n, rv);
    }
    if (!given(&a[0], sizeof o->class))
        o->class = CK_UNAVAILABLE_INFORMATION;
    if (!given(&a[1], sizeof o->type))
        o->type = CK_UNAVAILABLE_INFORMATION;
    o->id_len = given(&a[2], id_max) ? a[2].ulValueLen : 0;
    o->label[given(&a[3], label_max) ? a[3].ulValueLen : 0] = 0;
    return 0;
}

static int describe_all(struct token *t, struct object_index *index, size_t from, struct fault *f)
{
    size_t kept = from;

    for (size_t n = from; n < index->n; n++) {
        int gone = describe(t, &index->list[n], f);

        if (gone < 0)
            return -1;
        if (gone)
            log_line(LOG_LEVEL_WARNING, "object-gone", "handle=%lu", (unsigned long)index->list[n].handle);
        else if (kept++ != n)
            index->list[kept - 1] = index->list[n];
    }
    index->n = kept;
    return 0;
}

static void start_anew(const struct token *t, struct object_index *index)
{
    index->n = 0;
    index->epoch = t->epoch;
}

/* Nothing half-read is looked up. bad: the search failed. */
static int described(struct token *t, struct object_index *index, bool bad, struct fault *f)
{
    if (!bad && !describe_all(t, index, 0, f))
        return 0;
    index->n = 0;
    return -1;
}

int objects_read(struct token *t, struct object_index *index, struct fault *f)
{
    start_anew(t, index);
    return described(t, index, search(t, NULL, 0, index, f), f);
}

/* Appends the private and the public ones; n: 1 = all, 2 = those that the token says it made itself. */
static int search_keys(struct token *t, CK_ULONG n, struct object_index *hits, struct fault *f)
{
    static const CK_OBJECT_CLASS classes[] = {CKO_PRIVATE_KEY, CKO_PUBLIC_KEY};
    CK_BBOOL yes = CK_TRUE;
    int bad = 0;

    for (size_t k = 0; k < sizeof classes / sizeof *classes && !bad; k++) {
        CK_OBJECT_CLASS class = classes[k];
        CK_ATTRIBUTE want[] = {{CKA_CLASS, &class, sizeof class}, {CKA_LOCAL, &yes, sizeof yes}};

        bad = search(t, want, n, hits, f);
    }
    return bad;
}

/* CKA_LOCAL is what SoftHSM writes last of a key. Among keys without it may be one that is being made: they get a moment before anybody looks at them. */
static int let_finish(struct token *t, size_t all, struct fault *f)
{
    static const struct timespec moment = {.tv_nsec = 100000000};
    struct object_index made = {0};
    int bad = search_keys(t, 2, &made, f);

    if (!bad && made.n < all)
        (void)nanosleep(&moment, NULL);
    free(made.list);
    return bad;
}

int objects_read_keys(struct token *t, struct object_index *index, struct fault *f)
{
    start_anew(t, index);
    return described(t, index, search_keys(t, 1, index, f) || let_finish(t, index->n, f), f);
}

static bool matches(const struct object *o, CK_OBJECT_CLASS class, CK_KEY_TYPE type, struct span id)
{
    return o->class == class && o->type == type && span_eq(span_of(o->id, o->id_len), id);
}

static size_t index_hits(const struct object_index *index, CK_OBJECT_CLASS class, CK_KEY_TYPE type, struct span id, struct object *out)
{
    size_t hits = 0;

    for (size_t n = 0; n < index->n; n++)
        if (matches(&index->list[n], class, type, id) && !hits++)
            *out = index->list[n];
    return hits;
}

/* Cryptoki's templates take pointers to non-const; nothing is written through them in a search. */
static void *unconst(const void *p)
{
    void *q;

    memcpy(&q, &p, sizeof q);
    return q;
}

int object_find(struct token *t, CK_OBJECT_CLASS class, CK_KEY_TYPE type, struct span id, struct object *out, struct fault *f)
{
    CK_ATTRIBUTE want[] = {{CKA_CLASS, &class, sizeof class}, {CKA_KEY_TYPE, &type, sizeof type}, {CKA_ID, unconst(id.data), id.len}};
    size_t hits, old;

    if (t->objects->epoch != t->epoch && objects_read_keys(t, t->objects, f))
        return -1;
    old = t->objects->n;
    hits = index_hits(t->objects, class, type, id, out);
    if (!hits) {
        if (search(t, want, sizeof want / sizeof *want, t->objects, f) || describe_all(t, t->objects, old, f)) {
            t->objects->n = old;
            return -1;
        }
        hits = index_hits(t->objects, class, type, id, out);
    }
    if (!hits && token_present(t, f)) /* some modules find nothing where the token is gone */
        return -1;
    return hits == 1 ? 0 : fault_set(f, LANE_KEY, "%zu objects of the token match the key, exactly one must", hits);
}

int object_count(struct token *t, struct span id, size_t *out, struct fault *f)
{
    CK_ATTRIBUTE want[] = {{CKA_ID, unconst(id.data), id.len}};
    struct object_index hits = {0};
    int bad = search(t, want, 1, &hits, f);

    *out = hits.n;
    free(hits.list);
    return bad;
}

int objects_of_id(struct token *t, struct span id, struct object_index *out, struct fault *f)
{
    CK_ATTRIBUTE want[] = {{CKA_ID, unconst(id.data), id.len}};
    size_t from = out->n;

    return search(t, want, 1, out, f) || describe_all(t, out, from, f) ? -1 : 0;
}

void objects_forget(struct token *t, struct span id)
{
    struct object_index *index = t->objects;
    size_t kept = 0;

    for (size_t n = 0; n < index->n; n++)
        if (!span_eq(span_of(index->list[n].id, index->list[n].id_len), id))
            index->list[kept++] = index->list[n];
    index->n = kept;
}
