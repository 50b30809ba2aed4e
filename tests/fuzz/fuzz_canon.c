/* Fuzzes json_is_canonical: it accepts exactly what reading and canonical writing reproduce, for documents whose names are [a-z0-9_]+. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool names_fit(json_t *j)
{
    for (size_t i = 0; i < json_array_size(j); i++)
        if (!names_fit(json_array_get(j, i)))
            return false;
    for (void *it = json_object_iter(j); it; it = json_object_iter_next(j, it)) {
        const char *name = json_object_iter_key(it);
        size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_");
        if (n == 0 || name[n] || !names_fit(json_object_iter_value(it)))
            return false;
    }
    return true;
}

static bool is_reproduced(const uint8_t *data, size_t size)
{
    BUF_AUTO text = BUF_INIT(8 * size + 64);
    JSON_AUTO *j = json_read_object(data, size, size, NULL);

    if (!j || !names_fit(j))
        return false;
    json_canonical(&text, j);
    if (buf_ok(&text) || json_is_canonical(text.data, text.len))
        abort(); /* what the writer writes is always canonical */
    return span_eq(buf_span(&text), span_of(data, size));
}

/* What the scan finds of a member is what reading finds. */
static void same_member(const uint8_t *data, size_t size)
{
    struct json_wanted seq = {.name = "seq"};
    JSON_AUTO *j = json_read_object(data, size, size, NULL);
    const json_t *v = json_object_get(j, "seq");
    BUF_AUTO text = BUF_INIT(64);

    if (json_scan_canonical(data, size, &seq, 1))
        return;
    if ((seq.text.data != NULL) != (v != NULL))
        abort();
    if (json_is_integer(v)) {
        buf_printf(&text, "%lld", (long long)json_integer_value(v));
        if (!span_eq(buf_span(&text), seq.text))
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    JSON_AUTO *fast = json_read_canonical(data, size), *slow = json_read_object(data, size, size, NULL);

    if ((fast != NULL) != !json_is_canonical(data, size) || (fast && !json_equal(fast, slow)))
        abort(); /* both readers build the same tree */
    same_member(data, size);
    if ((json_is_canonical(data, size) == 0) != is_reproduced(data, size))
        abort();
    return 0;
}
