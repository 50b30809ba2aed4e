/* Removal of a release key from the token: check, remove, look again. */
#include "kmsd/token/destroy.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"

struct halves {
    size_t private, public, others;
};

static struct halves count(const struct object_index *found, const char *label)
{
    struct halves h = {0};

    for (size_t n = 0; n < found->n; n++) {
        const struct object *o = &found->list[n];
        bool ours = !strcmp(o->label, label);

        if (ours && o->class == CKO_PRIVATE_KEY)
            h.private++;
        else if (ours && o->class == CKO_PUBLIC_KEY)
            h.public++;
        else
            h.others++;
    }
    return h;
}

/* Nothing is removed on a guess. The private half goes first: where it is gone the public one still tells whose it was. */
static int check(struct token *t, const struct algorithm *a, struct span id, struct span spki, const struct halves *h, struct fault *f)
{
    BUF_AUTO have = BUF_INIT(SPKI_MAX);

    if (h->others)
        return fault_set(f, LANE_KEY, "%zu other objects of the token have the key's id; nothing was removed", h->others);
    if (!h->private && !h->public)
        return token_present(t, f); /* some modules find nothing where the token is gone */
    if (h->public != 1)
        return fault_set(f, LANE_KEY, "%zu public objects of the token have the key's id, exactly one must; nothing was removed", h->public);
    if (key_public(t, a, id, &have, f))
        return -1;
    return span_eq(buf_span(&have), spki) ? 0 : fault_set(f, LANE_KEY, "the public key on the token is not the recorded one; nothing was removed");
}

static int remove_class(struct token *t, const struct object_index *found, CK_OBJECT_CLASS class, struct fault *f)
{
    for (size_t n = 0; n < found->n; n++) {
        CK_RV rv = found->list[n].class == class ? t->f->C_DestroyObject(t->session, found->list[n].handle) : CKR_OK;

        if (rv != CKR_OK && rv != CKR_OBJECT_HANDLE_INVALID) /* some tokens remove both halves at once */
            return fault_rv(f, rv, "C_DestroyObject");
    }
    return 0;
}

/* The whole token is listed again: the index of this lane must not keep what is gone either. */
static int look_again(struct token *t, struct span id, struct fault *f)
{
    size_t left = 0;

    if (objects_read(t, t->objects, f) || token_present(t, f))
        return -1;
    for (size_t n = 0; n < t->objects->n; n++)
        left += span_eq(span_of(t->objects->list[n].id, t->objects->list[n].id_len), id);
    return left ? fault_set(f, LANE_BUG, "the token still has %zu objects of a key that it removed", left) : 0;
}

int destroy_key(struct token *t, const struct algorithm *a, struct span id, const char *label, struct span spki, json_t **proof, struct fault *f)
{
    struct object_index found = {0};
    struct halves h = {0};
    int bad = objects_of_id(t, id, &found, f);

    if (!bad) {
        h = count(&found, label);
        bad = check(t, a, id, spki, &h, f) || remove_class(t, &found, CKO_PRIVATE_KEY, f) || remove_class(t, &found, CKO_PUBLIC_KEY, f) ||
              look_again(t, id, f) || token_sync(t, f);
    }
    free(found.list);
    if (bad)
        return -1;
    log_line(LOG_LEVEL_WARNING, "key-destroyed", "label=%s private=%zu public=%zu", label, h.private, h.public);
    *proof = json_pack("{s:i, s:I, s:I, s:{s:O, s:O}}", "left", 0, "private", (json_int_t)h.private, "public", (json_int_t)h.public, "token", "label",
                       json_object_get(t->description, "label"), "serial", json_object_get(t->description, "serial"));
    return *proof ? 0 : fault_set(f, LANE_TOKEN, "out of memory");
}
