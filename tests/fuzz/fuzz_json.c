/* Fuzzes json_read_object and the reader: what is accepted writes to a canonical text that reads back as the same value. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

#define INPUT_MAX (64u << 10)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void use_reader(const json_t *object)
{
    struct json_reader r;
    struct err e = {0};
    const char *s = NULL;
    const json_t *j = NULL;
    int64_t n = 0;
    bool b = false;

    require(json_begin(&r, object, "", &e) == 0);
    bool refused = json_opt_str(&r, "s", 8, &s, &e) || json_opt_int(&r, "n", -5, 5, 0, &n, &e) || json_opt_bool(&r, "b", false, &b, &e)
        || json_opt_object(&r, "o", &j, &e) || json_opt_array(&r, "a", 3, &j, &e) || json_done(&r, &e);
    require(refused == (e.code != ERR_NONE) && n >= -5 && n <= 5);
    require(utf8_check(e.detail, strlen(e.detail)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err e = {0};
    JSON_AUTO *j = json_read_object(data, size, INPUT_MAX, &e);

    require((j == NULL) == (e.code != ERR_NONE));
    if (!j)
        return 0;
    use_reader(j);
    JSON_AUTO *slow = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);
    require(slow && json_equal(j, slow)); /* whichever way it was read */
    BUF_AUTO first = BUF_INIT(8 * (size_t)INPUT_MAX);
    BUF_AUTO second = BUF_INIT(8 * (size_t)INPUT_MAX);
    json_canonical(&first, j);
    require(buf_ok(&first) == 0);
    JSON_AUTO *again = json_read_object(first.data, first.len, first.len, &e);
    require(again && json_equal(j, again));
    json_canonical(&second, again);
    require(span_eq(buf_span(&first), buf_span(&second)));
    return 0;
}
