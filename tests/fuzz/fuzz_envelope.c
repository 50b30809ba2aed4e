/* Fuzzes the readers of envelopes and statements, and the escaping: no crash, what is accepted fits its limits, nothing unprintable comes out. */
#include <stdlib.h>
#include <string.h>

#include "audit/record.c"
#include "audit/statement.c"
#include "client/dsse.c"
#include "client/escape.c"
#include "client/release.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

/* What was read can be written, and every text of it is within its alphabet. */
static void check_release(struct span payload)
{
    struct kms_release r;
    struct err e = {0};

    if (release_parse(payload, &r, &e))
        return;
    JSON_AUTO *j = release_to_json(&r);
    require(j && artifact_check(r.name, "name", NULL) == 0 && version_check(r.version, NULL) == 0 && strlen(r.sha256) == 64);
}

static void check_escape(struct span text, enum escape_mode mode)
{
    BUF_AUTO out = BUF_INIT(12 * text.len + 64);

    escape_text(&out, text, mode);
    require(buf_ok(&out) == 0);
    for (size_t i = 0; i < out.len; i++)
        require((out.data[i] >= 0x20 && out.data[i] != 0x7f) || (mode == ESCAPE_JSON && (out.data[i] == '\n' || out.data[i] == '\t')));
    require(out.len == 0 || utf8_check(out.data, out.len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    DSSE_AUTO d = {0};
    struct err e = {0};

    check_release(span_of(data, size));
    check_escape(span_of(data, size), ESCAPE_LINE);
    check_escape(span_of(data, size), ESCAPE_JSON);
    if (dsse_parse(span_of(data, size), &d, &e) == 0)
        check_release(buf_span(&d.payload));
    return 0;
}
