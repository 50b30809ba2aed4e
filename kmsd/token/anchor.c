/* Reads and replaces the anchor on the token. */
#include "kmsd/token/anchor.h"

#include <string.h>

#include "base/log.h"

#define COPIES_MAX 16
#define LABEL_LEN (sizeof ANCHOR_LABEL - 1 + 32)

struct copies {
    CK_OBJECT_HANDLE handle[COPIES_MAX];
    CK_ULONG n;
};

/* Cryptoki's attributes point to non-const; a template is only read. */
static CK_ATTRIBUTE attribute(CK_ATTRIBUTE_TYPE type, const void *data, size_t len)
{
    CK_ATTRIBUTE a = {type, NULL, len};

    memcpy(&a.pValue, &data, sizeof data);
    return a;
}

static int check_label(const char *label, struct fault *f)
{
    if (strlen(label) != LABEL_LEN || strncmp(label, ANCHOR_LABEL, sizeof ANCHOR_LABEL - 1) ||
        strspn(label + sizeof ANCHOR_LABEL - 1, "0123456789abcdef") != 32)
        return fault_set(f, LANE_INPUT, "the label is not that of an anchor");
    return 0;
}

static int find(struct token *t, const char *label, struct copies *c, struct fault *f)
{
    const CK_OBJECT_CLASS class = CKO_DATA;
    CK_ATTRIBUTE want[] = {attribute(CKA_CLASS, &class, sizeof class), attribute(CKA_LABEL, label, strlen(label))};
    CK_RV rv = t->f->C_FindObjectsInit(t->session, want, sizeof want / sizeof *want);

    c->n = 0;
    if (rv != CKR_OK)
        return fault_rv(f, rv, "C_FindObjectsInit");
    rv = t->f->C_FindObjects(t->session, c->handle, COPIES_MAX, &c->n);
    (void)t->f->C_FindObjectsFinal(t->session);
    return rv == CKR_OK ? 0 : fault_rv(f, rv, "C_FindObjects");
}

/* What cannot be read is no copy. */
static void read_all(struct token *t, const struct copies *c, struct buf *values)
{
    for (CK_ULONG n = 0; n < c->n; n++) {
        uint8_t value[ANCHOR_BYTES];
        CK_ATTRIBUTE a = {CKA_VALUE, value, sizeof value};
        CK_RV rv = t->f->C_GetAttributeValue(t->session, c->handle[n], &a, 1);

        if (rv == CKR_OK && a.ulValueLen == sizeof value)
            buf_put(values, value, sizeof value);
        else
            log_line(LOG_LEVEL_WARNING, "anchor", "rv=0x%lx detail=\"a copy on the token cannot be read\"", (unsigned long)rv);
    }
}

/* 1: the token works, but does not keep such an object. */
static int create(struct token *t, const char *label, struct span value, struct fault *f)
{
    static const char application[] = "kmsd";
    const CK_OBJECT_CLASS class = CKO_DATA;
    const CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_ATTRIBUTE template[] = {
        attribute(CKA_CLASS, &class, sizeof class),
        attribute(CKA_TOKEN, &yes, sizeof yes),
        attribute(CKA_PRIVATE, &no, sizeof no),
        attribute(CKA_LABEL, label, strlen(label)),
        attribute(CKA_APPLICATION, application, sizeof application - 1),
        attribute(CKA_VALUE, value.data, value.len),
    };
    CK_OBJECT_HANDLE made;
    struct fault probe = {0};
    CK_RV rv = t->f->C_CreateObject(t->session, template, sizeof template / sizeof *template, &made);

    if (rv == CKR_OK)
        return token_sync(t, f);
    fault_rv(f, rv, "C_CreateObject");
    return f->heal != HEAL_NONE || token_probe(t, &probe) ? -1 : 1;
}

static int replace(struct token *t, const char *label, struct span value, struct fault *f)
{
    struct copies old;
    int made;

    if (value.len != ANCHOR_BYTES)
        return fault_set(f, LANE_INPUT, "an anchor has %d bytes", ANCHOR_BYTES);
    if (find(t, label, &old, f))
        return -1;
    made = create(t, label, value, f);
    for (CK_ULONG n = 0; !made && n < old.n; n++) {
        CK_RV rv = t->f->C_DestroyObject(t->session, old.handle[n]);

        if (rv != CKR_OK)
            log_line(LOG_LEVEL_WARNING, "anchor", "rv=0x%lx detail=\"an old copy stays on the token\"", (unsigned long)rv);
    }
    return made;
}

int anchor_verb(struct token *t, const struct frame *in, struct buf *out, struct fault *f)
{
    BUF_AUTO values = BUF_INIT(COPIES_MAX * ANCHOR_BYTES);
    char label[LABEL_LEN + 1];
    struct copies there;
    int refused = 0;

    if (frame_text(in, TAG_LABEL, label, sizeof label))
        label[0] = '\0';
    if (check_label(label, f))
        return -1;
    if (frame_has(in, TAG_ANCHOR))
        refused = replace(t, label, in->field[TAG_ANCHOR], f);
    if (refused || find(t, label, &there, f))
        return refused > 0 ? 0 : -1;
    read_all(t, &there, &values);
    if (values.len)
        frame_put(out, TAG_ANCHOR, buf_span(&values));
    return 0;
}
