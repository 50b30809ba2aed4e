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
static void same_members(const uint8_t *data, size_t size)
{
    static const char *const names[][2] = {{"a", NULL}, {"a", "a"}, {"a", "b"}, {"b", "a"}, {"seq", NULL}, {"seq", "a"}};
    struct json_wanted wanted[] = {{.name = "a"}, {.name = "a.a"}, {.name = "a.b"}, {.name = "b.a"}, {.name = "seq"}, {.name = "seq.a"}};
    JSON_AUTO *j = json_read_object(data, size, size, NULL);

    if (json_scan_canonical(data, size, wanted, sizeof wanted / sizeof *wanted))
        return;
    for (size_t n = 0; n < sizeof wanted / sizeof *wanted; n++) {
        const json_t *v = json_object_get(j, names[n][0]);
        BUF_AUTO text = BUF_INIT(8 * size + 64);

        if (names[n][1])
            v = json_object_get(v, names[n][1]);
        if (v)
            json_canonical(&text, v);
        if ((wanted[n].text.data != NULL) != (v != NULL) || !span_eq(buf_span(&text), wanted[n].text))
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    JSON_AUTO *fast = json_read_canonical(data, size), *slow = json_read_object(data, size, size, NULL);

    if ((fast != NULL) != !json_is_canonical(data, size) || (fast && !json_equal(fast, slow)))
        abort(); /* both readers build the same tree */
    same_members(data, size);
    if ((json_is_canonical(data, size) == 0) != is_reproduced(data, size))
        abort();
    return 0;
}
