/* Reads and writes the frames between the processes. */
#include "base/frame.h"

#include <string.h>

#include "base/json.h"

#define LENGTH_LEN 4u             /* u32 length */
#define HEAD_LEN 9u               /* u8 type, u64 id: counted by the length */
#define FIELD_HEAD_LEN 5u         /* u8 tag, u32 length */

/* Fields that are u64 numbers, and fields that are UTF-8 text without NUL; the others are bytes. */
#define NUMBER_TAGS (T(TAG_STATUS) | T(TAG_RETRY_AFTER) | T(TAG_COUNT) | T(TAG_CLASS) | T(TAG_ROLE) | T(TAG_INDEX) | T(TAG_PID) | T(TAG_CODE) \
    | T(TAG_SEQ) | T(TAG_HEAD))
#define TEXT_TAGS (T(TAG_METHOD) | T(TAG_TARGET) | T(TAG_SOURCE) | T(TAG_IDEMPOTENCY) | T(TAG_KMS_SIGNATURE) | T(TAG_CONTENT_TYPE) \
    | T(TAG_LOCATION) | T(TAG_REQUEST_ID) | T(TAG_REASON) | T(TAG_ALGORITHM) | T(TAG_SCHEME) | T(TAG_LABEL) | T(TAG_BIRTH) | T(TAG_PROFILE) \
    | T(TAG_TOKEN) | T(TAG_OBJECTS) | T(TAG_STATE) | T(TAG_SANDBOX) | T(TAG_QUERY) | T(TAG_HASH) | T(TAG_LINK) | T(TAG_ALLOW) \
    | T(TAG_PROOF))

static const char *const tag_names[FRAME_TAG_LIMIT] = {
#define X(name, number) [number] = #name,
    FRAME_TAGS(X)
#undef X
};

struct type {
    const char *name; /* NULL: no such type */
    uint64_t required, optional;
};
static const struct type types[256] = {
#define X(name, number, required, optional) [number] = {#name, (required), (optional)},
    FRAME_TYPES(X)
#undef X
};

bool frame_requires(enum frame_type type, enum frame_tag tag)
{
    return types[type].required & T(tag);
}

static uint32_t get_u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint64_t get_u64(const uint8_t *p)
{
    return (uint64_t)get_u32(p) << 32 | get_u32(p + 4);
}

int frame_next(struct span data, size_t *len)
{
    if (data.len < LENGTH_LEN)
        return 0;
    uint32_t n = get_u32(data.data);
    if (n < HEAD_LEN || n > FRAME_MAX)
        return -1;
    if (data.len - LENGTH_LEN < n)
        return 0;
    *len = LENGTH_LEN + n;
    return (int)(LENGTH_LEN + n);
}

/* Takes the field at the front of *left into out; the type says which tags it knows. */
static int field_take(struct span *left, const struct type *type, struct frame *out, struct err *e)
{
    if (left->len < FIELD_HEAD_LEN)
        return err_set(e, ERR_INTERNAL, "frame %s: a field is cut off", type->name);
    uint8_t tag = left->data[0];
    uint32_t n = get_u32(left->data + 1);
    if (tag >= FRAME_TAG_LIMIT || !tag_names[tag])
        return err_set(e, ERR_INTERNAL, "frame %s: unknown field %u", type->name, (unsigned)tag);
    if (!((type->required | type->optional) & T(tag)))
        return err_set(e, ERR_INTERNAL, "frame %s: field %s does not belong there", type->name, tag_names[tag]);
    if (out->field[tag].data)
        return err_set(e, ERR_INTERNAL, "frame %s: field %s is there twice", type->name, tag_names[tag]);
    if (n > left->len - FIELD_HEAD_LEN)
        return err_set(e, ERR_INTERNAL, "frame %s: field %s is cut off", type->name, tag_names[tag]);
    struct span value = span_of(left->data + FIELD_HEAD_LEN, n);
    if ((NUMBER_TAGS & T(tag)) && n != sizeof(uint64_t))
        return err_set(e, ERR_INTERNAL, "frame %s: number %s has %u bytes", type->name, tag_names[tag], (unsigned)n);
    if ((TEXT_TAGS & T(tag)) && utf8_check(value.data, value.len))
        return err_set(e, ERR_INTERNAL, "frame %s: text %s is not UTF-8 without NUL", type->name, tag_names[tag]);
    out->field[tag] = value;
    *left = span_of(value.data + n, left->len - FIELD_HEAD_LEN - n);
    return 0;
}

int frame_parse(struct span whole, struct frame *out, struct err *e)
{
    struct frame f = {0};
    size_t len;

    if (frame_next(whole, &len) <= 0 || len != whole.len)
        return err_set(e, ERR_INTERNAL, "frame: its length does not fit");
    f.type = whole.data[LENGTH_LEN];
    f.id = get_u64(whole.data + LENGTH_LEN + 1);
    const struct type *type = &types[f.type];
    if (!type->name)
        return err_set(e, ERR_INTERNAL, "frame: unknown type %u", (unsigned)f.type);
    struct span left = span_of(whole.data + LENGTH_LEN + HEAD_LEN, len - LENGTH_LEN - HEAD_LEN);
    while (left.len)
        if (field_take(&left, type, &f, e))
            return -1;
    for (unsigned tag = 0; tag < FRAME_TAG_LIMIT; tag++)
        if ((type->required & T(tag)) && !f.field[tag].data)
            return err_set(e, ERR_INTERNAL, "frame %s: field %s is missing", type->name, tag_names[tag]);
    *out = f;
    return 0;
}

size_t frame_begin(struct buf *b, enum frame_type type, uint64_t id)
{
    size_t mark = b->len;

    buf_u32(b, 0);
    buf_putc(b, (uint8_t)type);
    buf_u64(b, id);
    return mark;
}

/* As in struct frame, NULL data means absent: so a field can be handed on without asking first. */
void frame_put(struct buf *b, enum frame_tag tag, struct span value)
{
    if (!value.data)
        return;
    if (value.len > FRAME_MAX) {
        b->failed = true;
        return;
    }
    buf_putc(b, (uint8_t)tag);
    buf_u32(b, (uint32_t)value.len);
    buf_put(b, value.data, value.len);
}

void frame_put_str(struct buf *b, enum frame_tag tag, const char *value)
{
    if (value)
        frame_put(b, tag, span_str(value));
}

void frame_put_u64(struct buf *b, enum frame_tag tag, uint64_t value)
{
    buf_putc(b, (uint8_t)tag);
    buf_u32(b, sizeof value);
    buf_u64(b, value);
}

/* A frame that failed is taken back, so that the bytes before it stay a sequence of whole frames. */
void frame_end(struct buf *b, size_t mark)
{
    size_t n = b->len - mark - LENGTH_LEN;

    if (b->failed || n > FRAME_MAX) {
        b->failed = true;
        b->len = mark < b->len ? mark : b->len;
        return;
    }
    for (unsigned i = 0; i < LENGTH_LEN; i++)
        b->data[mark + i] = (uint8_t)(n >> (24 - 8 * i));
}

bool frame_has(const struct frame *f, enum frame_tag tag)
{
    return f->field[tag].data != NULL;
}

uint64_t frame_u64(const struct frame *f, enum frame_tag tag)
{
    return f->field[tag].len == sizeof(uint64_t) ? get_u64(f->field[tag].data) : 0;
}

int frame_text(const struct frame *f, enum frame_tag tag, char *out, size_t size)
{
    struct span value = f->field[tag];

    if (!value.data || value.len >= size)
        return -1;
    memcpy(out, value.data, value.len);
    out[value.len] = '\0';
    return 0;
}
