/* Operational messages, one line each, to standard error. */
#include "base/log.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/timefmt.h"
#include "base/utf8.h"

#define LINE_MAX_BYTES 4096 /* before escaping; journald and terminals take more, readers do not */
#define NUMBER_MAX 15       /* digits that any reader of JSON takes for a number without loss */
#define FIELDS_MAX 12
/* Stand between fields, and between a key and its value, while printf fills the values in. */
#define FIELD_MARK '\x1e'
#define VALUE_MARK '\x1f'

static char program[32] = "kmsd";
static enum log_format format;
static enum log_level least = LOG_LEVEL_INFO;

struct field {
    const char *key, *value;
    bool quoted; /* as fmt has it: a text, whatever it looks like */
};

void log_program(const char *name)
{
    snprintf(program, sizeof program, "%s", name);
}

void log_set(enum log_format how, enum log_level level)
{
    format = how;
    least = level;
}

/* systemd puts "device:inode" of the journal's socket there; the variable survives a redirection, the comparison does not. */
static bool is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    char ours[48];
    struct stat st;

    if (!stream || fstat(STDERR_FILENO, &st))
        return false;
    snprintf(ours, sizeof ours, "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    return strcmp(stream, ours) == 0;
}

static const char *level_name(enum log_level level)
{
    return level <= LOG_LEVEL_ERROR ? "error" : level <= LOG_LEVEL_WARNING ? "warning" : "info";
}

/* Control characters and what is not UTF-8 as \xNN; within quotes, quotes and backslashes escaped (in JSON the backslash of \xNN too). */
static void put_clean(struct buf *out, const char *text, bool quotes)
{
    const uint8_t *p = (const uint8_t *)text;

    for (size_t left = strlen(text); left;) {
        size_t n = utf8_sequence(p, left), len = n ? n : 1;

        if (n && !utf8_is_control(p, n)) {
            if (quotes && (*p == '"' || *p == '\\'))
                buf_putc(out, '\\');
            buf_put(out, p, n);
        } else {
            for (size_t i = 0; i < len; i++)
                buf_printf(out, "%s\\x%02x", quotes && format == LOG_FORMAT_JSON ? "\\" : "", (unsigned)p[i]);
        }
        p += len;
        left -= len;
    }
}

static bool is_number(const char *text)
{
    const char *digits = text + (*text == '-');
    size_t n = strspn(digits, "0123456789");

    return n && n <= NUMBER_MAX && !digits[n] && (n == 1 || *digits != '0');
}

static void put_field(struct buf *out, const char *key, const char *value, bool quoted)
{
    bool json = format == LOG_FORMAT_JSON;
    bool quotes = json ? quoted || !is_number(value) : quoted || !*value || value[strcspn(value, " \"=\\")];

    buf_printf(out, json ? ",\"%s\":" : " %s=", key);
    if (quotes)
        buf_putc(out, '"');
    put_clean(out, value, quotes);
    if (quotes)
        buf_putc(out, '"');
}

static void put_time(char out[static TIME_TEXT])
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    time_format((int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000, out);
}

static void put_head(struct buf *out, enum log_level level, const char *event, bool journal)
{
    char time[TIME_TEXT];

    put_time(time);
    if (journal)
        buf_printf(out, "<%d>", (int)level);
    if (format == LOG_FORMAT_JSON)
        buf_printf(out, "{\"time\":\"%s\",\"program\":\"%s\",\"pid\":%d,\"level\":\"%s\"", time, program, (int)getpid(), level_name(level));
    else if (journal)
        buf_printf(out, "program=%s level=%s", program, level_name(level));
    else
        buf_printf(out, "time=%s program=%s level=%s", time, program, level_name(level));
    put_field(out, "event", event, false);
}

/* Puts marks into a copy of fmt where a field or a value begins. The number of fields, 0 when fmt is not a list of them. */
static unsigned mark(const char *fmt, char *out, size_t size, struct field *field)
{
    unsigned n = 0;
    char *end = out + size - 2;

    while (*fmt) {
        size_t key = strspn(fmt, "abcdefghijklmnopqrstuvwxyz0123456789_"), len;
        const char *value = fmt + key + 1;

        if (!key || fmt[key] != '=' || n == FIELDS_MAX)
            return 0;
        field[n].quoted = *value == '"';
        value += field[n].quoted;
        len = strcspn(value, field[n].quoted ? "\"" : " ");
        if (out + key + len + 2 > end)
            return 0;
        memcpy(out, fmt, key);
        out[key] = VALUE_MARK;
        memcpy(out + key + 1, value, len);
        out += key + 1 + len;
        fmt = value + len;
        fmt += *fmt == '"';
        if (*fmt == ' ') {
            fmt++;
            *out++ = FIELD_MARK;
        }
        n++;
    }
    *out = '\0';
    return n;
}

/* Are they as fmt had them: a value's after each key, one between two fields? Otherwise one came with a value, or the text was cut. */
static bool marks_hold(const char *text, unsigned n)
{
    static const char marks[] = {VALUE_MARK, FIELD_MARK, '\0'};
    unsigned found = 0;

    for (text += strcspn(text, marks); *text; text += 1 + strcspn(text + 1, marks))
        if (*text != marks[found++ % 2])
            return false;
    return found == 2 * n - 1;
}

static void cut(char *text, struct field *field, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        char *value = strchr(text, VALUE_MARK), *end = strchr(text, FIELD_MARK);

        *value = '\0';
        if (end)
            *end = '\0';
        field[i].key = text;
        field[i].value = value + 1;
        text = end ? end + 1 : text;
    }
}

void log_line(enum log_level level, const char *event, const char *fmt, ...)
{
    BUF_AUTO line = BUF_INIT(8 * LINE_MAX_BYTES);
    struct field field[FIELDS_MAX];
    char text[LINE_MAX_BYTES], marked[LINE_MAX_BYTES];
    unsigned n = mark(fmt, marked, sizeof marked, field);
    va_list ap;

    if (level > least)
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, n ? marked : fmt, ap);
    va_end(ap);
    put_head(&line, level, event, is_journal());
    if (n && marks_hold(text, n)) {
        cut(text, field, n);
    } else if (*text) {
        field[0] = (struct field){"text", text, true};
        n = 1;
    }
    for (unsigned i = 0; i < n; i++)
        put_field(&line, field[i].key, field[i].value, field[i].quoted);
    buf_puts(&line, format == LOG_FORMAT_JSON ? "}\n" : "\n");
    /* One write, so that lines of several processes do not mix; nobody is left to hear of a failure. */
    if (buf_ok(&line) || write(STDERR_FILENO, line.data, line.len) < 0)
        return;
}
