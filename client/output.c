/* Prints results and failures. */
#include "client/output.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/escape.h"

#define LINE_MAX_BYTES (64u << 20)
#define COLUMNS_MAX 8
#define WIDTH_MAX 128 /* a cell that is wider moves its own line alone */

static void print_escaped(FILE *to, const char *text, enum escape_mode mode)
{
    BUF_AUTO safe = BUF_INIT(LINE_MAX_BYTES);

    escape_text(&safe, span_str(text), mode);
    fputs(buf_str(&safe), to);
}

static bool lost; /* a result could not be put together: without memory there is nothing to print */

static void print_json(const json_t *value)
{
    BUF_AUTO text = BUF_INIT(LINE_MAX_BYTES), safe = BUF_INIT(LINE_MAX_BYTES);

    json_canonical(&text, value);
    escape_text(&safe, buf_span(&text), ESCAPE_JSON);
    lost |= !value || buf_ok(&text) || buf_ok(&safe);
    puts(buf_str(&safe));
}

/* A value as a person reads it; arrays of plain values separated by commas. */
static void format_value(struct buf *out, const json_t *v)
{
    const json_t *item;
    size_t i;

    if (json_is_string(v)) {
        buf_puts(out, json_string_value(v));
    } else if (json_is_array(v)) {
        json_array_foreach((json_t *)(uintptr_t)v, i, item)
        {
            buf_puts(out, i ? ", " : "");
            format_value(out, item);
        }
    } else if (json_is_integer(v)) {
        buf_printf(out, "%lld", (long long)json_integer_value(v));
    } else if (json_is_boolean(v)) {
        buf_puts(out, json_is_true(v) ? "yes" : "no");
    } else if (json_is_object(v)) {
        json_canonical(out, v);
    } else {
        buf_puts(out, "-");
    }
}

/* A text of several lines goes under its name, indented. */
static void print_value(const char *text)
{
    size_t len = strlen(text);

    if (!strchr(text, '\n')) {
        print_escaped(stdout, text, ESCAPE_LINE);
        putchar('\n');
        return;
    }
    putchar('\n');
    for (const char *line = text; line < text + len;) {
        size_t n = strcspn(line, "\n");
        BUF_AUTO safe = BUF_INIT(LINE_MAX_BYTES);

        escape_text(&safe, span_of(line, n), ESCAPE_LINE);
        printf("  %s\n", buf_str(&safe));
        line += n + (line[n] == '\n');
    }
}

/* {seq, hash} reads best as seq:hash, which is also what kms-audit --head takes. */
static bool is_record(const json_t *v)
{
    return json_is_object(v) && json_object_size(v) >= 2 && json_is_integer(json_object_get(v, "seq")) && json_is_string(json_object_get(v, "hash"));
}

static void print_members(const json_t *object, const char *prefix);

/* One "name  value" line, or those of what the value consists of: roles, log, keys.active, lanes[0].state. */
static void print_member(const char *label, const json_t *v)
{
    BUF_AUTO value = BUF_INIT(LINE_MAX_BYTES), safe = BUF_INIT(16384);
    size_t i;
    const json_t *item;

    if (json_is_object(v) && !is_record(v)) {
        print_members(v, label);
        return;
    }
    if (json_is_object(json_array_get(v, 0))) {
        json_array_foreach((json_t *)(uintptr_t)v, i, item)
        {
            buf_clear(&value);
            buf_printf(&value, "%s[%zu]", label, i);
            print_member(buf_str(&value), item);
        }
        return;
    }
    if (is_record(v))
        buf_printf(&value, "%lld:%s", (long long)json_integer_value(json_object_get(v, "seq")), json_string_value(json_object_get(v, "hash")));
    else
        format_value(&value, v);
    escape_text(&safe, span_str(label), ESCAPE_LINE);
    printf("%-18s ", buf_str(&safe));
    print_value(buf_str(&value));
}

static void print_members(const json_t *object, const char *prefix)
{
    const char *name;
    json_t *v;

    json_object_foreach((json_t *)(uintptr_t)object, name, v)
    {
        BUF_AUTO label = BUF_INIT(4096);

        buf_printf(&label, "%s%s%s", prefix, prefix[0] ? "." : "", name);
        print_member(buf_str(&label), v);
    }
}

void output_object(const struct context *c, const json_t *object)
{
    if (!object)
        lost = true;
    else if (c->json)
        print_json(object);
    else
        print_members(object, "");
}

static void cell(struct buf *out, const json_t *item, const char *member)
{
    BUF_AUTO text = BUF_INIT(1 << 20);
    const json_t *v = item;

    while (v && *member) {
        char part[64];
        size_t n = strcspn(member, ".");

        snprintf(part, sizeof(part), "%.*s", (int)n, member);
        v = json_object_get(v, part);
        member += n + (member[n] == '.');
    }
    format_value(&text, v);
    escape_text(out, buf_span(&text), ESCAPE_LINE);
}

static void measure(const json_t *items, const struct column *columns, size_t width[static COLUMNS_MAX])
{
    const json_t *item;
    size_t i, shown;

    for (size_t k = 0; k < COLUMNS_MAX && columns[k].title; k++)
        width[k] = strlen(columns[k].title);
    json_array_foreach((json_t *)(uintptr_t)items, i, item)
    {
        for (size_t k = 0; k < COLUMNS_MAX && columns[k].title; k++) {
            BUF_AUTO text = BUF_INIT(1 << 20);

            cell(&text, item, columns[k].member);
            shown = escape_width(buf_span(&text));
            if (shown > width[k] && shown <= WIDTH_MAX)
                width[k] = shown;
        }
    }
}

static void print_cell(struct span text, size_t width, bool last)
{
    size_t shown = escape_width(text);

    if (text.len)
        fwrite(text.data, 1, text.len, stdout);
    printf("%*s", last ? 0 : (int)(width > shown ? width - shown + 2 : 2), "");
}

static void print_row(const json_t *item, const struct column *columns, const size_t *width)
{
    for (size_t k = 0; k < COLUMNS_MAX && columns[k].title; k++) {
        BUF_AUTO text = BUF_INIT(1 << 20);

        if (item)
            cell(&text, item, columns[k].member);
        else
            buf_puts(&text, columns[k].title);
        print_cell(buf_span(&text), width[k], k + 1 == COLUMNS_MAX || !columns[k + 1].title);
    }
    putchar('\n');
}

void output_list(const struct context *c, const json_t *items, const struct column *columns)
{
    size_t width[COLUMNS_MAX] = {0}, i;
    const json_t *item;

    if (c->json) {
        JSON_AUTO *list = json_pack("{s:O}", "items", items);

        print_json(list);
        return;
    }
    measure(items, columns, width);
    print_row(NULL, columns, width);
    json_array_foreach((json_t *)(uintptr_t)items, i, item) print_row(item, columns, width);
}

int output_bytes(struct context *c, struct span data)
{
    if (data.len == 0 || fwrite(data.data, 1, data.len, stdout) == data.len)
        return 0;
    return kms_fail_text(&c->error, KMS_REFUSED, "standard output: %s", strerror(errno));
}

int output_block(struct context *c, struct span text)
{
    BUF_AUTO safe = BUF_INIT(LINE_MAX_BYTES);

    if (!isatty(STDOUT_FILENO))
        return output_bytes(c, text);
    escape_text(&safe, text, ESCAPE_BLOCK);
    return output_bytes(c, buf_span(&safe));
}

void output_note(const char *fmt, ...)
{
    va_list ap;
    char line[4096];

    va_start(ap, fmt);
    vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    fputs("kmsctl: ", stderr);
    print_escaped(stderr, line, ESCAPE_LINE);
    fputc('\n', stderr);
}

static void print_field(const char *label, const char *text)
{
    if (!text[0])
        return;
    fprintf(stderr, "  %-9s ", label);
    print_escaped(stderr, text, ESCAPE_LINE);
    fputc('\n', stderr);
}

void output_error(const struct context *c)
{
    const struct kms_error *e = &c->error;
    char wait[32] = "";

    fflush(stdout);
    if (!e->title[0]) {
        output_note("%s", e->detail);
        print_field("request:", e->request_id);
        return;
    }
    if (e->slug[0])
        output_note("%s (%s)", e->title, e->slug);
    else
        output_note("%s", e->title);
    print_field("detail:", e->detail);
    print_field("rule:", e->rule);
    if (e->retry_after)
        snprintf(wait, sizeof(wait), "in %u s", e->retry_after);
    print_field("retry:", wait);
    print_field("request:", e->request_id);
}

int output_finish(struct context *c)
{
    if (lost)
        return kms_fail_text(&c->error, KMS_REFUSED, "out of memory: the result could not be printed");
    if (fflush(stdout) == 0 && !ferror(stdout))
        return 0;
    return kms_fail_text(&c->error, KMS_REFUSED, "standard output: %s", strerror(errno));
}
