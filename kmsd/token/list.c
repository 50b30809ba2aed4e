/* The inventory of the token as JSON. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/enc.h"
#include "kmsd/token/object.h"

struct name {
    CK_ULONG number;
    const char *text;
};
static const struct name classes[] = {
    {CKO_DATA, "data"},
    {CKO_CERTIFICATE, "certificate"},
    {CKO_PUBLIC_KEY, "public-key"},
    {CKO_PRIVATE_KEY, "private-key"},
    {CKO_SECRET_KEY, "secret-key"},
    {0, NULL},
};
static const struct name types[] = {
    {CKK_EC, "ec"}, {CKK_EC_EDWARDS, "ec-edwards"}, {CKK_RSA, "rsa"}, {CKK_AES, "aes"}, {CK_UNAVAILABLE_INFORMATION, ""}, {0, NULL},
};

static const char *name_of(const struct name *table, CK_ULONG number, char other[static 24])
{
    for (; table->text; table++)
        if (table->number == number)
            return table->text;
    (void)snprintf(other, 24, "0x%lx", (unsigned long)number);
    return other;
}

static json_t *entry(const struct object *o)
{
    char id[2 * OBJECT_ID_MAX + 1], class[24], type[24];
    const char *label = utf8_check(o->label, strlen(o->label)) ? "" : o->label;

    hex_encode(o->id, o->id_len, id);
    return json_pack("{s:s, s:s, s:s, s:s}", "class", name_of(classes, o->class, class), "id", id, "label", label, "type",
                     name_of(types, o->type, type));
}

int objects_list(struct token *t, json_t **out, struct fault *f)
{
    struct object_index now = {0};
    json_t *list = json_array();
    int bad = objects_read(t, &now, f);

    if (!bad && !now.n) /* an empty list must not come from a token that went away */
        bad = token_present(t, f);
    for (size_t n = 0; !bad && n < now.n; n++)
        if (json_array_append_new(list, entry(&now.list[n])))
            bad = fault_set(f, LANE_TOKEN, "out of memory");
    free(now.list);
    if (bad)
        json_decref(list);
    else
        *out = list;
    return bad;
}
