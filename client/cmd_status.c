/* kmsctl status, whoami: what the service says of itself and of you. */
#include <stdio.h>
#include <string.h>

#include "base/fsutil.h"
#include "base/timefmt.h"
#include "client/api.h"
#include "client/config.h"
#include "client/escape.h"
#include "client/output.h"
#include "client/owncert.h"

#define VALUE_MAX 4096

static const char *text_of(const json_t *object, const char *member)
{
    const char *text = json_string_value(json_object_get(object, member));

    return text ? text : "";
}

static long long number_of(const json_t *object, const char *member)
{
    return (long long)json_integer_value(json_object_get(object, member));
}

/* "name  value"; a value without a name belongs to the line above. Nothing for an empty value. */
static void line(const char *name, const struct buf *value)
{
    BUF_AUTO safe = BUF_INIT(8 * VALUE_MAX);

    if (!value->len)
        return;
    escape_text(&safe, buf_span(value), ESCAPE_LINE);
    printf("  %-13s %s\n", name, buf_str(&safe));
}

/* A moment without its microseconds. */
static void put_time(struct buf *out, const char *time)
{
    if (*time)
        buf_printf(out, "%.10s %.8s", time, strlen(time) > 19 ? time + 11 : "");
}

/* How long from now until then, in the unit that fits; the client's clock. */
static void put_span(struct buf *out, int64_t us)
{
    long long s = (us < 0 ? -us : us) / TIME_SECOND;

    if (s >= 2 * 86400)
        buf_printf(out, "%lld days", s / 86400);
    else if (s >= 2 * 3600)
        buf_printf(out, "%lld hours", s / 3600);
    else if (s >= 120)
        buf_printf(out, "%lld minutes", s / 60);
    else
        buf_printf(out, "%lld seconds", s);
}

static void show_head(const json_t *s)
{
    BUF_AUTO value = BUF_INIT(VALUE_MAX), safe = BUF_INIT(8 * VALUE_MAX);
    const json_t *ready = json_object_get(s, "ready");
    const char *started = text_of(s, "started");
    int64_t since;

    escape_text(&safe, span_str(text_of(s, "origin")), ESCAPE_LINE);
    printf("%s: %s\n\n", buf_str(&safe), json_is_true(ready) ? "ready" : json_is_false(ready) ? "NOT READY" : "answers");
    if (text_of(s, "instance")[0])
        buf_printf(&value, "%s, %s", text_of(s, "instance"), text_of(s, "mode"));
    line("instance", &value);
    buf_clear(&value);
    buf_puts(&value, text_of(s, "version"));
    if (*started && !time_parse(started, &since)) {
        buf_puts(&value, ", started ");
        put_time(&value, started);
        buf_puts(&value, ", ");
        put_span(&value, clock_wall_us() - since);
        buf_puts(&value, " ago");
    }
    line("kmsd", &value);
}

static void show_doors(const json_t *s)
{
    BUF_AUTO value = BUF_INIT(VALUE_MAX);
    const json_t *door;
    size_t i;

    json_array_foreach(json_object_get(s, "doors"), i, door)
        buf_printf(&value, "%s%s %s", i ? ", " : "", text_of(door, "name"), text_of(door, "state"));
    line("doors", &value);
}

static void show_log(const json_t *s)
{
    const json_t *log = json_object_get(s, "log"), *snapshot = json_object_get(s, "snapshot");
    BUF_AUTO value = BUF_INIT(VALUE_MAX);

    if (log)
        buf_printf(&value, "%lld:%s", number_of(log, "seq"), text_of(log, "hash"));
    line("log head", &value);
    buf_clear(&value);
    put_time(&value, text_of(log, "time"));
    if (json_object_get(log, "bytes"))
        buf_printf(&value, "%s%lld bytes", value.len ? ", " : "", number_of(log, "bytes"));
    line("", &value);
    buf_clear(&value);
    buf_puts(&value, text_of(s, "anchor"));
    line("anchor", &value);
    buf_clear(&value);
    if (snapshot && !number_of(snapshot, "records"))
        buf_puts(&value, "none so far");
    else if (snapshot) {
        buf_printf(&value, "%lld records", number_of(snapshot, "records"));
        buf_puts(&value, text_of(snapshot, "time")[0] ? ", " : "");
        put_time(&value, text_of(snapshot, "time"));
    }
    line("snapshot", &value);
    buf_clear(&value);
    buf_puts(&value, text_of(s, "policy"));
    line("policy", &value);
}

static void show_token(const json_t *s)
{
    const json_t *token = json_object_get(s, "token"), *lane;
    BUF_AUTO value = BUF_INIT(VALUE_MAX);
    size_t i;

    if (json_object_size(token))
        buf_printf(&value, "%s (%s, %s, serial %s)", text_of(token, "label"), text_of(token, "manufacturer"), text_of(token, "model"),
                   text_of(token, "serial"));
    line("token", &value);
    json_array_foreach(json_object_get(s, "lanes"), i, lane)
    {
        buf_clear(&value);
        buf_printf(&value, "%-5s %lld  %-8s %s", text_of(lane, "role"), number_of(lane, "index"), text_of(lane, "state"), text_of(lane, "sandbox"));
        while (value.len && value.data[value.len - 1] == ' ')
            value.data[--value.len] = '\0';
        line(i ? "" : "lanes", &value);
    }
    buf_clear(&value);
    buf_puts(&value, text_of(s, "sandbox"));
    line("sandbox", &value);
}

static void show_keys(const json_t *s)
{
    BUF_AUTO value = BUF_INIT(VALUE_MAX);
    const json_t *clock = json_object_get(s, "time"), *reader = json_object_get(s, "reader");
    const char *state;
    json_t *count;

    json_object_foreach(json_object_get(s, "keys"), state, count)
        if (json_integer_value(count) || !strcmp(state, "active"))
            buf_printf(&value, "%s%lld %s", value.len ? ", " : "", (long long)json_integer_value(count), state);
    line("keys", &value);
    buf_clear(&value);
    if (reader)
        buf_printf(&value, "%s, %lld records indexed", text_of(reader, "state"), number_of(reader, "indexed"));
    line("search", &value);
    buf_clear(&value);
    if (json_is_true(json_object_get(clock, "frozen")))
        buf_printf(&value, "FROZEN: it was set, see record %lld", number_of(clock, "step"));
    else if (clock)
        buf_puts(&value, "runs");
    line("clock", &value);
}

static void show_end(const char *label, const char *name, int64_t end)
{
    BUF_AUTO value = BUF_INIT(VALUE_MAX);
    char until[TIME_TEXT];

    time_format(end, until);
    buf_printf(&value, "%-13s %s %.10s, ", name, end < clock_wall_us() ? "ENDED" : "ends", until);
    put_span(&value, end - clock_wall_us());
    buf_puts(&value, end < clock_wall_us() ? " ago" : " left");
    line(label, &value);
}

static void show_certificates(const struct context *c, const json_t *s)
{
    const char *label = "certificates";
    int64_t end = owncert_end(config_text(c, OPT_CLIENT_CERT));
    const json_t *cert;
    size_t i;

    if (end >= 0)
        show_end(label, "yours", end), label = "";
    json_array_foreach(json_object_get(s, "certificates"), i, cert)
        if (!time_parse(text_of(cert, "not_after"), &end))
            show_end(label, text_of(cert, "name"), end), label = "";
}

static void show_warnings(const json_t *s)
{
    const json_t *warning;
    size_t i;

    json_array_foreach(json_object_get(s, "warnings"), i, warning)
    {
        BUF_AUTO what = BUF_INIT(8 * VALUE_MAX), cure = BUF_INIT(8 * VALUE_MAX);

        escape_text(&what, span_str(text_of(warning, "what")), ESCAPE_LINE);
        escape_text(&cure, span_str(text_of(warning, "do")), ESCAPE_LINE);
        printf("%swarning: %s\n         %s\n", i ? "" : "\n", buf_str(&what), buf_str(&cure));
    }
}

int cmd_status(struct context *c)
{
    KMS_ANSWER_AUTO a = {0};

    if (config_connect(c) || api_get(c, KMS_DOOR_ANY, "/v1/status", &a))
        return -1;
    if (c->json) {
        output_object(c, a.json);
        return 0;
    }
    show_head(a.json);
    show_doors(a.json);
    show_log(a.json);
    show_token(a.json);
    show_keys(a.json);
    show_certificates(c, a.json);
    show_warnings(a.json);
    return 0;
}

int cmd_whoami(struct context *c)
{
    KMS_ANSWER_AUTO a = {0};

    if (config_connect(c) || api_get(c, KMS_DOOR_ANY, "/v1/whoami", &a))
        return -1;
    output_object(c, a.json);
    return 0;
}
